package transporttest

import (
	"net"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// PipeConn is one end of a Pipe.
type PipeConn struct {
	in, out *half
	local   pipeAddr
	remote  pipeAddr
}

var (
	_ transport.StreamConn = (*PipeConn)(nil)
	_ transport.Aborter    = (*PipeConn)(nil)
)

// pipeAddr is the name of an end.
type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// Pipe returns the two ends of a stream in memory that behaves as TCP does: each way holds 64 KiB, the halves
// end apart, an abort is a reset. It works inside a synctest bubble, where sockets do not, and has no
// goroutines.
func Pipe() (a, b *PipeConn) {
	there, back := newHalf(), newHalf()
	return &PipeConn{in: back, out: there, local: "a", remote: "b"},
		&PipeConn{in: there, out: back, local: "b", remote: "a"}
}

// Read implements net.Conn.
func (c *PipeConn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements net.Conn.
func (c *PipeConn) Write(p []byte) (int, error) { return c.out.write(p) }

// CloseRead lets Read return EOF and drops what the other end still writes.
func (c *PipeConn) CloseRead() error {
	c.in.update(func(h *half) { h.unwanted, h.data = true, nil })
	return nil
}

// CloseWrite lets the other end read EOF after what was written.
func (c *PipeConn) CloseWrite() error {
	c.out.update(func(h *half) { h.ended = true })
	return nil
}

// Close ends both halves: the other end reads what was written, then EOF, and cannot write any more.
func (c *PipeConn) Close() error {
	c.out.update(func(h *half) { h.ended, h.writerClosed = true, true })
	c.in.update(func(h *half) { h.readerClosed, h.data = true, nil })
	return nil
}

// Abort loses what was written; the other end sees a reset.
func (c *PipeConn) Abort() error {
	c.out.update(func(h *half) { h.reset, h.writerClosed, h.data = true, true, nil })
	c.in.update(func(h *half) { h.reset, h.readerClosed, h.data = true, true, nil })
	return nil
}

// LocalAddr implements net.Conn.
func (c *PipeConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *PipeConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *PipeConn) SetDeadline(at time.Time) error {
	_ = c.SetReadDeadline(at)
	return c.SetWriteDeadline(at)
}

// SetReadDeadline implements net.Conn.
func (c *PipeConn) SetReadDeadline(at time.Time) error {
	c.in.update(func(h *half) { h.readDeadline.set(h, at) })
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *PipeConn) SetWriteDeadline(at time.Time) error {
	c.out.update(func(h *half) { h.writeDeadline.set(h, at) })
	return nil
}
