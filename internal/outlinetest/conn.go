package outlinetest

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	slowBuffer = 16 << 10              // receive buffer of a connection that is read slowly
	slowTick   = 50 * time.Millisecond // how often it is read
)

// conn is a client's TCP connection, below TLS: the place of the faults that know no protocol.
type conn struct {
	net.Conn // tcp without the methods that would go round Read and Write
	tcp      *net.TCPConn
	server   *Server
	frozen   atomic.Bool // by FreezeAll
	once     sync.Once
	gone     chan struct{} // closed by Close
}

var _ net.Conn = (*conn)(nil)

// track registers a connection, or returns nil after Close.
func (s *Server) track(tcp *net.TCPConn) *conn {
	c := &conn{Conn: tcp, tcp: tcp, server: s, gone: make(chan struct{})}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		_ = tcp.Close()
		return nil
	}
	s.stats.update(func(t *Stats) { t.Accepted++; t.Open++ })
	return c
}

func (s *Server) untrack(c *conn) {
	_ = c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.stats.update(func(t *Stats) { t.Open-- })
}

func (c *conn) Read(p []byte) (int, error) {
	rate := c.server.fault.load().ReadRate
	if rate > 0 {
		p = p[:min(len(p), max(1, rate/int(time.Second/slowTick)))]
	}
	n, err := c.Conn.Read(p)
	if rate > 0 && err == nil {
		c.server.pause(time.Duration(n)*time.Second/time.Duration(rate), c.gone)
	}
	c.thaw()
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.thaw()
	return c.Conn.Write(p)
}

// thaw waits while connections are frozen.
func (c *conn) thaw() {
	if c.frozen.Load() {
		c.stall()
	}
	for {
		changed := c.server.fault.frozen()
		if changed == nil {
			return
		}
		select {
		case <-changed:
		case <-c.gone:
			return
		case <-c.server.ctx.Done():
			return
		}
	}
}

// stall holds the connection until it or the server is closed from this side.
func (c *conn) stall() {
	select {
	case <-c.gone:
	case <-c.server.ctx.Done():
	}
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

// reset closes with RST (RFC 9293, section 3.10.4).
func (c *conn) reset() {
	_ = c.tcp.SetLinger(0)
	_ = c.Close()
}
