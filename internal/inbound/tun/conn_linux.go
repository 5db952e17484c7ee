//go:build !unit

package tun

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// conn is an application's connection, as the stack has it.
type conn struct {
	ep            tcpip.Endpoint
	local, remote net.Addr // the target that the application meant, and the application

	readable, writable          waiter.ChannelNotifier // a token for each change
	readDeadline, writeDeadline transport.Deadline

	into tcpip.SliceWriter // Read's, so that it allocates nothing
	from bytes.Reader      // Write's

	broken    atomic.Pointer[error] // the first failure: the stack names it once and then reports a clean end
	closed    chan struct{}
	closeOnce sync.Once
	patience  time.Duration // of a closed connection with an application that does not read
}

// unread is the usual patience. Linux gives up about as late.
const unread = 10 * time.Minute

var (
	_ transport.StreamConn  = (*conn)(nil)
	_ transport.WaitReader  = (*conn)(nil)
	_ transport.Aborter     = (*conn)(nil)
	_ transport.GoneWatcher = (*conn)(nil)
)

// newConn owns ep, whose events come through queue.
func newConn(ep tcpip.Endpoint, queue *waiter.Queue, local, remote net.Addr) *conn {
	c := &conn{
		ep: ep, local: local, remote: remote,
		readable: make(waiter.ChannelNotifier, 1),
		writable: make(waiter.ChannelNotifier, 1),
		closed:   make(chan struct{}),
		patience: unread,
	}
	var in, out waiter.Entry
	in.Init(c.readable, waiter.ReadableEvents|waiter.EventHUp|waiter.EventErr)
	out.Init(c.writable, waiter.WritableEvents|waiter.EventHUp|waiter.EventErr)
	queue.EventRegister(&in)
	queue.EventRegister(&out)
	return c
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	for {
		if err := c.usable(&c.readDeadline); err != nil || len(p) == 0 {
			return 0, err
		}
		c.into = p
		result, failure := c.ep.Read(&c.into, tcpip.ReadOptions{})
		c.into = nil
		if failure == nil {
			c.ep.ModerateRecvBuf(result.Count)
			return result.Count, nil
		}
		if _, empty := failure.(*tcpip.ErrWouldBlock); !empty {
			return 0, c.readError(failure)
		}
		if err := c.wait(c.readable, &c.readDeadline); err != nil {
			return 0, err
		}
	}
}

// WaitRead implements transport.WaitReader.
func (c *conn) WaitRead() error {
	for {
		if err := c.usable(&c.readDeadline); err != nil {
			return err
		}
		if c.ep.Readiness(waiter.ReadableEvents)&waiter.ReadableEvents != 0 {
			return nil
		}
		if err := c.wait(c.readable, &c.readDeadline); err != nil {
			return err
		}
	}
}

// Write implements net.Conn. It returns once everything is in the stack's buffer.
func (c *conn) Write(p []byte) (int, error) {
	written := 0
	for {
		if err := c.usable(&c.writeDeadline); err != nil || written == len(p) {
			return written, err
		}
		c.from.Reset(p[written:])
		n, failure := c.ep.Write(&c.from, tcpip.WriteOptions{})
		written += int(n)
		switch failure.(type) {
		case nil:
			continue
		case *tcpip.ErrWouldBlock:
		default:
			return written, c.writeError(failure)
		}
		if err := c.wait(c.writable, &c.writeDeadline); err != nil {
			return written, err
		}
	}
}

// usable reports why nothing may be moved now.
func (c *conn) usable(d *transport.Deadline) error {
	switch {
	case isClosed(c.closed):
		return net.ErrClosed
	case d.Passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// wait waits for a change.
func (c *conn) wait(changed <-chan struct{}, d *transport.Deadline) error {
	select {
	case <-changed:
		return nil
	case <-d.Done():
		return os.ErrDeadlineExceeded
	case <-c.closed:
		return net.ErrClosed
	}
}

// readError tells the end of the application's half from the end of the connection.
func (c *conn) readError(failure tcpip.Error) error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	if _, ended := failure.(*tcpip.ErrClosedForReceive); ended {
		if tcp.EndpointState(c.ep.State()) != tcp.StateError {
			return io.EOF
		}
		failure = &tcpip.ErrConnectionReset{}
	}
	return c.failure(failure)
}

func (c *conn) writeError(failure tcpip.Error) error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	if _, ended := failure.(*tcpip.ErrClosedForSend); ended {
		if tcp.EndpointState(c.ep.State()) != tcp.StateError {
			return syscall.EPIPE // our own half has ended
		}
		failure = &tcpip.ErrConnectionReset{}
	}
	return c.failure(failure)
}

// failure returns the first failure of the connection.
func (c *conn) failure(failure tcpip.Error) error {
	err := stackError(failure)
	if !c.broken.CompareAndSwap(nil, &err) {
		err = *c.broken.Load()
	}
	return err
}

// stackError gives the stack's errors the meaning that they have everywhere else.
func stackError(failure tcpip.Error) error {
	switch failure.(type) {
	case *tcpip.ErrConnectionReset, *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		return syscall.ECONNRESET
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrNetworkUnreachable:
		return syscall.ENETUNREACH
	case *tcpip.ErrHostUnreachable:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrNotConnected:
		return syscall.ENOTCONN
	}
	return &tcpipError{failure}
}

// tcpipError is an error of the stack that has no name elsewhere.
type tcpipError struct{ cause tcpip.Error }

func (e *tcpipError) Error() string { return e.cause.String() }

// Close ends both halves. What has been written is still delivered, unless the application takes nothing for
// very long: no flow is counted for it any more. Data that came and was not read makes it a reset.
func (c *conn) Close() error {
	if !c.shut() {
		return net.ErrClosed
	}
	limit := tcpip.TCPUserTimeoutOption(c.patience)
	_ = c.ep.SetSockOpt(&limit) // fails only where there is no TCP
	c.ep.Close()
	return nil
}

// Abort implements transport.Aborter: the application sees a reset.
func (c *conn) Abort() error {
	if !c.shut() {
		return net.ErrClosed
	}
	c.ep.Abort()
	return nil
}

// shut reports whether this call closed the connection.
func (c *conn) shut() bool {
	first := false
	c.closeOnce.Do(func() {
		close(c.closed)
		first = true
	})
	return first
}

// Gone implements transport.GoneWatcher.
func (c *conn) Gone() bool {
	state := tcp.EndpointState(c.ep.State())
	return state == tcp.StateError || state == tcp.StateClose
}

// CloseRead implements transport.StreamConn.
func (c *conn) CloseRead() error { return c.shutdown(tcpip.ShutdownRead) }

// CloseWrite implements transport.StreamConn.
func (c *conn) CloseWrite() error { return c.shutdown(tcpip.ShutdownWrite) }

func (c *conn) shutdown(half tcpip.ShutdownFlags) error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	if failure := c.ep.Shutdown(half); failure != nil {
		return c.failure(failure)
	}
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.setDeadline(&c.readDeadline, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeDeadline, t) }

func (c *conn) setDeadline(d *transport.Deadline, t time.Time) error {
	if isClosed(c.closed) {
		return net.ErrClosed
	}
	d.Set(t)
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
