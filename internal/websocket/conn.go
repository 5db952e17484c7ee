package websocket

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// closePatience is how long Close waits for the carrier to take our Close frame.
const closePatience = time.Second

// HalfClose says what CloseWrite does.
type HalfClose uint8

const (
	// CloseFrame sends the Close frame at once: Outline's own servers pass it on to the target as the end of
	// our half and go on answering.
	CloseFrame HalfClose = iota
	// Defer holds our Close frame until the peer's has come, for servers that cut the answer at ours.
	Defer
)

// Options are the choices of one WebSocket. The zero value is the default.
type Options struct {
	HalfClose HalfClose
	PingAfter time.Duration // silence before a ping; 0 = 30 s, negative = never
	PongLimit time.Duration // silence after a ping before the peer counts as dead; 0 = 10 s
	Logger    *slog.Logger  // told of Close frames and pings at level debug; nil logs nothing
	Traffic   *Traffic      // counts messages, with those of others; nil counts nothing
}

// conn is what streams and packets share: the carrier, frames both ways, control frames and the end.
type conn struct {
	carrier   transport.StreamConn
	in        frameReader
	out       *frameWriter
	alive     keepalive
	halfClose HalfClose
	log       *slog.Logger // nil unless debugging

	mu     sync.Mutex
	cause  error          // why we gave the carrier up ourselves; the reader reports it
	closed bool           // Close or Abort was called
	pong   []byte         // the latest ping's payload, not yet answered; nil when there is none
	pongs  sync.WaitGroup // the goroutine that answers, one at the most
}

func (c *conn) init(carrier transport.StreamConn, o Options, mayBlock func() bool) {
	c.carrier, c.halfClose = carrier, o.HalfClose
	if o.Logger != nil && o.Logger.Enabled(context.Background(), slog.LevelDebug) {
		c.log = o.Logger
	}
	traffic := o.Traffic
	if traffic == nil {
		traffic = new(Traffic)
	}
	c.out = newFrameWriter(carrier, traffic)
	c.in.traffic = traffic
	c.in.src, c.in.onControl = heardReader{carrier, &c.alive}, c.control
	c.alive.setLimits(o)
	c.alive.ping, c.alive.frames = c.ping, c.out.frames.Load
	c.alive.dead = func() { c.giveUp(ErrPingTimeout) }
	c.alive.mayBlock = mayBlock
	c.alive.start()
}

// pathAlive reports whether the peer's host acknowledges what it is sent, as far as anybody knows.
func (c *conn) pathAlive() bool {
	w, ok := c.carrier.(transport.PathWatcher)
	return !ok || w.Unacknowledged() < maxUnacknowledged
}

// write sends one message in place.
func (c *conn) write(buf []byte, front, back int) error {
	if err := c.out.writeMessage(buf, front, back); err != nil {
		return c.why(err)
	}
	c.alive.sent(len(buf) - front - back)
	return nil
}

// control handles a control frame of the peer. It never writes to the carrier itself: the peer may read
// nothing before we do.
func (c *conn) control(op opcode, payload []byte) error {
	switch op {
	case opPing:
		c.answer(payload)
	case opClose:
		c.alive.suspend()
		err := parseClose(payload)
		c.event("close received", "err", err)
		return err
	default: // a pong, of which the keep-alive knows already
	}
	return nil
}

// answer sends a pong from a goroutine of its own. Only the latest ping need be answered (RFC 6455, section
// 5.5.3), so a flood of pings costs one goroutine and one payload.
func (c *conn) answer(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	busy := c.pong != nil
	c.pong = append(make([]byte, 0, maxControl), payload...)
	if !busy {
		c.pongs.Go(c.sendPongs)
	}
}

func (c *conn) sendPongs() {
	for {
		c.mu.Lock()
		payload := c.pong
		c.mu.Unlock()
		err := c.out.writeControl(opPong, payload)
		c.mu.Lock()
		if err != nil || &c.pong[:1][0] == &payload[:1][0] {
			c.pong = nil
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}

// ping sends a ping unless a frame is being written, which the peer will have to answer for anyway.
func (c *conn) ping() bool {
	done, err := c.out.tryWriteControl(opPing, nil)
	c.event("ping", "sent", done, "err", err)
	return done && err == nil
}

// why returns the reason for which we gave the carrier up, where there is one, instead of err, its
// consequence.
func (c *conn) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	return err
}

// event logs a wire event while debugging.
func (c *conn) event(what string, args ...any) {
	if c.log != nil {
		c.log.Debug("websocket", append([]any{"event", what}, args...)...)
	}
}

// giveUp breaks the carrier without waiting for anything.
func (c *conn) giveUp(cause error) {
	c.mu.Lock()
	if c.cause == nil && !c.closed {
		c.cause = cause
	}
	c.mu.Unlock()
	c.event("given up", "err", cause)
	_ = transport.Abort(c.carrier)
}

// sendClose ends our direction. Closing twice is no error.
func (c *conn) sendClose() error {
	c.alive.suspend()
	c.event("close sent", "code", codeNormal)
	err := c.out.writeControl(opClose, appendClose(nil, codeNormal))
	if errors.Is(err, errWriteClosed) {
		return nil
	}
	return c.why(err)
}

// Close sends a Close frame where none went out yet, closes the carrier and waits for what this connection
// runs. Closing again does nothing.
func (c *conn) Close() error {
	var err error
	if c.end() {
		_ = c.carrier.SetWriteDeadline(time.Now().Add(closePatience))
		payload := appendClose(nil, codeNormal)
		if c.halfClose == Defer {
			_ = c.out.writeControl(opClose, payload) // the frame that CloseWrite promised
		} else {
			// A writer that is stuck holds the lock, and then the end is not clean anyway.
			_, _ = c.out.tryWriteControl(opClose, payload)
		}
		err = c.carrier.Close()
	}
	c.wait()
	return err
}

// Abort closes the carrier without a Close frame, so that the peer sees a failure. It frees a Close that
// hangs in a carrier that takes nothing.
func (c *conn) Abort() error {
	first := c.end()
	err := transport.Abort(c.carrier)
	c.wait()
	if !first {
		return nil // the error would only say that the carrier is closed
	}
	return err
}

// end notes that the connection is closed, and reports whether it was open.
func (c *conn) end() bool {
	c.alive.suspend()
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.closed
	c.closed = true
	return first
}

// wait waits for what this connection runs; the carrier is closed, so that nothing hangs.
func (c *conn) wait() {
	c.alive.stop()
	c.pongs.Wait()
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.carrier.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.carrier.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.carrier.SetDeadline(t) }

// SetReadDeadline implements net.Conn. A read that ran into it can be repeated.
func (c *conn) SetReadDeadline(t time.Time) error { return c.carrier.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn. A write that ran into it may have cut a frame short, so nothing can
// be written after it.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.carrier.SetWriteDeadline(t) }
