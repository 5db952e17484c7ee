package transport

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ErrNotAllowed says that a rule of this client forbids a flow.
var ErrNotAllowed = errors.New("not allowed by a rule")

// ErrTarget says that a flow failed at its target, or between the server and that, and not on the way to the
// server: another way would not help.
var ErrTarget = errors.New("target refused or cannot be reached")

// ErrNoNetwork says that nothing can leave this host now, so that nothing was tried. It says nothing of any
// server.
var ErrNoNetwork = fmt.Errorf("this host has no network: %w", syscall.ENETUNREACH)

// Aborter is a connection that can end so that its peer sees a failure.
type Aborter interface {
	// Abort closes the connection without the signs of a clean end: a reset on TCP, no Close frame on a
	// WebSocket.
	Abort() error
}

// Abort closes c so that its peer sees a failure where c can express one. A broken flow ends this way,
// because a clean end would make what arrived look complete.
func Abort(c net.Conn) error {
	switch c := c.(type) {
	case Aborter:
		return c.Abort()
	case *net.TCPConn:
		// Linger 0 turns Close into RST (RFC 9293, section 3.10.4, ABORT). It fails only on a closed socket.
		_ = c.SetLinger(0)
	}
	return c.Close()
}
