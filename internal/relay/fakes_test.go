package relay

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// wrapped is an error around another.
type wrapped struct{ err error }

func (w *wrapped) Error() string { return fmt.Sprintf("wrapped: %v", w.err) }
func (w *wrapped) Unwrap() error { return w.err }

// brokenReader is a target that sends left zeros, then fails. It takes everything. The zero value is ready.
type brokenReader struct {
	transport.StreamConn // nil: nothing else is called

	left int
	err  error
}

func (b *brokenReader) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.err
	}
	n := min(len(p), b.left)
	clear(p[:n])
	b.left -= n
	return n, nil
}

func (b *brokenReader) Write(p []byte) (int, error) { return len(p), nil }
func (b *brokenReader) CloseWrite() error           { return nil }
func (b *brokenReader) Abort() error                { return nil }
func (b *brokenReader) Close() error                { return nil }

// brokenWriter is a pipe on which every write fails.
type brokenWriter struct {
	*transporttest.PipeConn
	err error
}

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

// counted is a stream that counts how it was ended.
type counted struct {
	transport.StreamConn

	mu             sync.Mutex
	closes, aborts int
}

func (c *counted) Close() error {
	c.mu.Lock()
	c.closes++
	c.mu.Unlock()
	return c.StreamConn.Close()
}

func (c *counted) Abort() error {
	c.mu.Lock()
	c.aborts++
	c.mu.Unlock()
	return transport.Abort(c.StreamConn)
}

var _ net.Conn = (*counted)(nil)
