package relay

import (
	"io"
	"net"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// source yields the bytes of one direction.
type source interface {
	// next waits for bytes and returns a pooled buffer that holds n of them from room.Front on. The caller
	// puts the buffer back. buf is nil when err is not.
	next(room transport.Headroom) (buf *buffer, n int, err error)
}

// newSource picks the way to read c that holds no buffer while c is idle, where there is one.
func newSource(c net.Conn) source {
	if w, ok := c.(transport.WaitReader); ok {
		return &waitSource{conn: c, waiter: w}
	}
	if s := newSocketSource(c); s != nil {
		return s
	}
	return plainSource{conn: c}
}

// waitSource reads from a connection that can wait without a buffer.
type waitSource struct {
	conn   net.Conn
	waiter transport.WaitReader
}

func (s *waitSource) next(room transport.Headroom) (*buffer, int, error) {
	if err := s.waiter.WaitRead(); err != nil {
		return nil, 0, err
	}
	return plainSource{s.conn}.next(room)
}

// plainSource reads from any connection and holds its buffer while it waits.
type plainSource struct{ conn net.Conn }

func (s plainSource) next(room transport.Headroom) (*buffer, int, error) {
	buf := buffers.Get().(*buffer)
	n, err := s.conn.Read(buf[room.Front : room.Front+room.Max])
	if n > 0 {
		return buf, n, nil // an error comes again with the next call
	}
	buffers.Put(buf)
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, 0, err
}
