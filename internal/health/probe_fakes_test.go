package health_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

var (
	limits   = health.Timeouts{Dial: 3 * time.Second, Exchange: 2 * time.Second}
	late     = context.DeadlineExceeded
	question = health.Question{Name: "example.com", Type: "A"}
)

// fakeNet dials targets whose servers are functions. Every one runs in a goroutine that wait waits for.
type fakeNet struct {
	dialTime time.Duration
	dialErr  error
	servers  map[string]func(c *transporttest.PipeConn) // by target; nil: never answers
	datagram func(target string, query []byte) [][]byte // the answers to a datagram

	mu      sync.Mutex
	dialled []string
	open    int
	running sync.WaitGroup
}

func (n *fakeNet) dial(ctx context.Context) error {
	select {
	case <-time.After(n.dialTime):
		return n.dialErr
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// DialStream implements transport.StreamDialer.
func (n *fakeNet) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	n.note(addr)
	if err := n.dial(ctx); err != nil {
		return nil, err
	}
	near, far := transporttest.Pipe()
	if serve := n.servers[addr]; serve != nil {
		n.running.Go(func() { serve(far) })
	}
	n.count(1)
	return &countedConn{near, n}, nil
}

func (n *fakeNet) note(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialled = append(n.dialled, addr)
}

func (n *fakeNet) count(d int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open += d
}

// wait ends the servers and demands that every connection was closed.
func (n *fakeNet) wait(t *testing.T) {
	t.Helper()
	n.running.Wait()
	if n.open != 0 {
		t.Errorf("%d connections are left open", n.open)
	}
}

// countedConn tells its net when it is closed.
type countedConn struct {
	*transporttest.PipeConn
	net *fakeNet
}

func (c *countedConn) Close() error { c.net.count(-1); return c.PipeConn.Close() }
func (c *countedConn) Abort() error { c.net.count(-1); return c.PipeConn.Abort() }

// ListenPacket implements transport.PacketListener.
func (n *fakeNet) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if err := n.dial(ctx); err != nil {
		return nil, err
	}
	near, far := transporttest.Pipe()
	n.count(1)
	return &fakePacketConn{countedConn: &countedConn{near, n}, far: far}, nil
}

// fakePacketConn keeps datagrams apart by a length in front of each.
type fakePacketConn struct {
	*countedConn
	far *transporttest.PipeConn
}

func (c *fakePacketConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	c.net.note(addr.Network() + " " + addr.String())
	if c.net.datagram == nil {
		return len(p), nil
	}
	for _, answer := range c.net.datagram(addr.String(), p) {
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(answer)))
		if _, err := c.far.Write(append(framed, answer...)); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (c *fakePacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	var size [2]byte
	if _, err := io.ReadFull(c.countedConn, size[:]); err != nil {
		return 0, nil, err
	}
	n, err := io.ReadFull(c.countedConn, p[:binary.BigEndian.Uint16(size[:])])
	return n, nil, err
}

// answering is a server that answers after a time, piece by piece.
func answering(after time.Duration, pieces ...string) func(*transporttest.PipeConn) {
	return func(c *transporttest.PipeConn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		for _, piece := range pieces {
			time.Sleep(after)
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
		}
	}
}

// wantStage demands a StageError with a cause, or with any if that is nil.
func wantStage(t *testing.T, err error, stage health.Stage, cause error) {
	t.Helper()
	at, ok := errors.AsType[*health.StageError](err)
	if !ok || at.Stage != stage || cause != nil && !errors.Is(err, cause) {
		t.Errorf("probe = %v (%T), want %v at stage %v", err, err, cause, stage)
	}
}
