package outlinetest

import (
	"crypto/tls"
	"net"
)

// lane is what one WebSocket runs over: a TCP connection of its own, or a stream of a shared one. Its methods
// may be called concurrently.
type lane interface {
	net.Conn
	// done is closed once the lane has been closed from this side or cannot carry anything any more.
	done() <-chan struct{}
	// fin ends our half as the protocols below the WebSocket do it, without a Close frame.
	fin()
	// cut ends our half with as few words as possible.
	cut()
	// reset breaks both halves.
	reset()
}

// tcpLane is a connection of HTTP/1.1.
type tcpLane struct {
	net.Conn // TLS or tcp
	tcp      *conn
}

var _ lane = tcpLane{}

func (l tcpLane) done() <-chan struct{} { return l.tcp.gone }

func (l tcpLane) fin() {
	if secure, ok := l.Conn.(*tls.Conn); ok {
		_ = secure.CloseWrite() // close_notify
	}
	l.cut()
}

func (l tcpLane) cut() { _ = l.tcp.tcp.CloseWrite() }

func (l tcpLane) reset() { l.tcp.reset() }

// stall holds a lane until it or the server is closed from this side, or it breaks.
func (s *Server) stall(l lane) {
	select {
	case <-l.done():
	case <-s.ctx.Done():
	}
}
