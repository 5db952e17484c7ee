package socks5

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// When accepting fails, most often because file descriptors ran out, the next attempt waits.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// complaintInterval is how often one kind of trouble at the door is logged at most.
const complaintInterval = 10 * time.Second

// clientKeepAlive finds clients that are gone without a word within about two minutes.
var clientKeepAlive = net.KeepAliveConfig{
	Enable:   true,
	Idle:     time.Minute,
	Interval: 15 * time.Second,
	Count:    4,
}

// Serve takes clients from l, whose connections must be transport.StreamConns as *net.TCPConn is, and returns
// nil when ctx is done, l is closed or Shutdown is called. It closes l. Clients that have said nothing by
// then are sent away; the flows of the others go on, and Shutdown waits for them or ends them. It may be
// called for several listeners at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &door{listener: l, cancel: cancel}
	defer d.close()
	if !s.openDoor(d) {
		return nil
	}
	defer s.forgetDoor(d)
	stop := context.AfterFunc(ctx, d.close)
	defer stop()

	log := s.logger().With("inbound", inbound, "addr", l.Addr().String())
	var refusals, failures complaint
	var pause time.Duration
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			if err := s.admit(ctx, c); err != nil && refusals.due(time.Now()) {
				log.WarnContext(ctx, "client refused", "err", err)
			}
			continue
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return nil
		}
		if pause == 0 && failures.due(time.Now()) {
			log.WarnContext(ctx, "accept failed", "err", err)
		}
		pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
		wait(ctx, pause)
	}
}

// admit starts the flow of a client, or closes the connection and says why.
func (s *Server) admit(ctx context.Context, c net.Conn) error {
	client, ok := c.(transport.StreamConn)
	if !ok {
		_ = c.Close()
		return errors.New("connection has no half-close")
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(clientKeepAlive) // a system without these options keeps its own
		setBuffers(tcp, s.settings().SocketBuffer)
	}
	accepting := ctx
	err := s.startFlow(ctx, func(ctx context.Context, id uint64) {
		f := &flow{server: s, settings: s.settings(), client: client, id: id, began: time.Now()}
		f.serve(ctx, accepting)
	})
	if err != nil {
		_ = c.Close()
	}
	return err
}

// buffered is a socket of TCP or UDP.
type buffered interface {
	SetReadBuffer(size int) error
	SetWriteBuffer(size int) error
}

// setBuffers bounds what the kernel holds for a socket each way; 0 leaves that to the kernel.
func setBuffers(socket buffered, size int) {
	if size > 0 {
		_ = socket.SetReadBuffer(size) // which the kernel may adapt to its own limits
		_ = socket.SetWriteBuffer(size)
	}
}

// complaint is one kind of trouble that would fill the log.
type complaint struct{ last time.Time }

// due reports whether it is time to log again.
func (c *complaint) due(now time.Time) bool {
	if !c.last.IsZero() && now.Sub(c.last) < complaintInterval {
		return false
	}
	c.last = now
	return true
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
