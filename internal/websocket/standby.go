package websocket

import (
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// What follows is for whoever keeps connections ready that carry nothing yet.

// SetKeepAlive replaces the keep-alive's part of the options. Silence still counts from the last byte.
func (c *conn) SetKeepAlive(o Options) { c.alive.restart(o) }

// Strained reports whether the carrier shares a connection on which a new flow is not well off; see
// transport.Sharer.
func (c *conn) Strained() bool {
	s, ok := c.carrier.(transport.Sharer)
	return ok && s.Strained()
}

// Leave ends a connection that carries nothing: a Close frame, a moment for the peer's own, and Close. Only
// the goroutine that reads may call it.
func (c *conn) Leave() {
	_ = c.carrier.SetDeadline(time.Now().Add(closePatience))
	if c.sendClose() == nil {
		for c.in.left == 0 && c.in.advance() == nil { // an empty message is no end
		}
	}
	_ = c.Close()
}
