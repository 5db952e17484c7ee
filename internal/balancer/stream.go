package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

var (
	// ErrSilent says that a path left a flow without an answer that another path gave.
	ErrSilent     = errors.New("no answer, while another upstream gave one")
	errWriteEnded = fmt.Errorf("write after the end of the stream: %w", net.ErrClosed)
)

// lastWords is how long a connection that takes nothing any more may still have an answer to read.
const lastWords = time.Second

// stream is one flow. Until the first byte of an answer it keeps what the client sends, and other paths may
// be tried with it; from then on everything goes straight to the attempt that answered.
//
//	open --answer, end, too much sent--> settled
//	open --failure, silence--> open, with rivals --first answer of any--> settled
//	open --failure of all--> broken
type stream struct {
	group  *group[transport.StreamDialer]
	target string
	room   transport.Headroom
	within time.Duration // for how long further paths are tried, from the first bytes on; 0: for ever
	lead   *attempt      // the first one

	winner  atomic.Pointer[attempt] // nil until settled
	trouble sync.Once               // is told once

	rivals sync.WaitGroup // their goroutines

	mu       sync.Mutex
	changed  chan struct{} // closed, and another put in its place, when those who wait should look again
	flight   []byte        // what the client has sent so far
	dropped  int           // bytes before that which the sole attempt has got
	ended    bool          // and has ended with that
	sending  int           // writes and ends of the client that are being given to the attempts
	attempts []*attempt    // connections to give it to
	sole     *attempt      // alone gets it, as it is not to be sent twice; nil: all do, or nobody has yet
	leadErr  error         // why the first one failed
	racing   int           // rivals that still may answer
	raced    time.Time     // when the last one began
	tried    []*path[transport.StreamDialer]
	again    bool            // the first path was tried again
	sentAt   time.Time       // when the first bytes left
	until    time.Time       // no further path is tried after it; zero: it has not begun, or never ends
	silent   *time.Timer     // started then
	stalled  bool            // the first path's silence is booked
	end      func()          // cancels the rivals; nil without
	all      context.Context //nolint:containedctx // of the rivals
	closed   bool
	readBy   time.Time
	writeBy  time.Time
}

var (
	_ transport.StreamConn     = (*stream)(nil)
	_ transport.HeadroomWriter = (*stream)(nil)
	_ transport.WaitReader     = (*stream)(nil)
	_ transport.Aborter        = (*stream)(nil)
	_ transport.Carried        = (*stream)(nil)
)

func newStream(
	g *group[transport.StreamDialer], p *path[transport.StreamDialer], conn transport.StreamConn,
	target string, began time.Time,
) *stream {
	s := &stream{group: g, target: target, lead: newAttempt(p, conn), changed: make(chan struct{})}
	s.room = transport.Headroom{Max: transport.RecordSize}
	if s.lead.inPlace != nil {
		s.room = s.lead.room
	}
	if d := g.options().Failover.Deadline; d > 0 {
		s.within = max(d-time.Since(began), 1)
	}
	s.attempts = []*attempt{s.lead}
	s.tried = append(s.tried, p)
	p.enter(s)
	return s
}

// current is the attempt that the flow is on.
func (s *stream) current() *attempt {
	if w := s.winner.Load(); w != nil {
		return w
	}
	return s.lead
}

// Upstream implements transport.Carried.
func (s *stream) Upstream() string { return s.current().path.name }

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	w := s.winner.Load()
	if w == nil {
		if err := s.firstAnswer(); err != nil {
			return 0, err
		}
		w = s.winner.Load()
	}
	n, err := w.conn.Read(p)
	w.path.Counters.received(n)
	if err != nil {
		s.broke(w, err)
	}
	return n, err
}

// WaitRead implements transport.WaitReader.
func (s *stream) WaitRead() error {
	w := s.winner.Load()
	if w == nil {
		return s.firstAnswer()
	}
	err := waitRead(w.conn)
	if err != nil {
		s.broke(w, err)
	}
	return err
}

// waitRead waits for the next bytes where conn can. What cannot wait counts as having answered.
func waitRead(conn net.Conn) error {
	if w, ok := conn.(transport.WaitReader); ok {
		return w.WaitRead()
	}
	return nil
}

// broke has the path probed soon, under a flow that broke in the middle.
func (s *stream) broke(w *attempt, err error) {
	if isEnd(err) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	s.trouble.Do(func() { s.group.options().Trouble(w.path.Health) })
}

// isEnd reports whether an error is how a target ends a flow.
func isEnd(err error) bool {
	clean := err == io.EOF //nolint:errorlint // a wrapped EOF is no clean end
	return clean || errors.Is(err, transport.ErrTarget)
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) {
	w := s.winner.Load()
	if w == nil {
		kept, err := s.keep(p)
		if err != nil {
			return 0, err
		}
		if kept {
			return len(p), nil
		}
		w = s.winner.Load()
	}
	w.path.Counters.sent(len(p))
	return w.conn.Write(p)
}

// Headroom implements transport.HeadroomWriter.
func (s *stream) Headroom() transport.Headroom { return s.room }

// WriteHeadroom implements transport.HeadroomWriter.
func (s *stream) WriteHeadroom(buf []byte, front, back int) error {
	w := s.winner.Load()
	if w == nil {
		if kept, err := s.keep(buf[front : len(buf)-back]); kept || err != nil {
			return err
		}
		w = s.winner.Load()
	}
	w.path.Counters.sent(len(buf) - front - back)
	if w.inPlace == nil || front < w.room.Front || back < w.room.Back {
		_, err := w.conn.Write(buf[front : len(buf)-back]) // not the carrier that we promised the room of
		return err
	}
	return w.inPlace.WriteHeadroom(buf, front, back)
}

// keep adds p to the flight and sends it to all who may answer. It reports false when there is one by now
// that takes p straight.
func (s *stream) keep(p []byte) (bool, error) {
	s.mu.Lock()
	if kept, err := s.admit(len(p)); !kept {
		s.mu.Unlock()
		return false, err
	}
	s.flight = append(s.flight, p...)
	s.startClock()
	s.restrict()
	return true, s.pumpAll()
}

// admit waits for room for n more bytes of the flight, and reports false when there will be none. A flight
// that outgrows what is kept has no way back from whoever has got it. The caller holds mu.
func (s *stream) admit(n int) (bool, error) {
	for {
		switch {
		case s.closed:
			return false, net.ErrClosed
		case s.winner.Load() != nil:
			return false, nil
		case s.ended:
			return false, errWriteEnded
		case s.dropped+len(s.flight)+n <= maxFlight:
			return true, nil
		case s.leadErr == nil && s.lead.sendErr == nil:
			s.settle(s.lead)
			return false, nil
		}
		s.choose()
		switch {
		case s.sole != nil:
			return s.sole.sendErr == nil, s.sole.sendErr
		case s.leadErr != nil && s.racing == 0:
			return false, s.leadErr
		case !s.waitChange(s.writeBy):
			return false, os.ErrDeadlineExceeded
		}
	}
}

// pumpAll gives what was just added to all attempts. It returns an error only when the client's own deadline
// ended a write. The caller holds mu, and does not any more afterwards.
func (s *stream) pumpAll() (err error) {
	attempts := s.attempts
	s.sending++ // one of them may settle the flow meanwhile, and get it all the same
	s.mu.Unlock()
	for _, a := range slices.Backward(attempts) { // the silent ones last: they may take nothing
		if failed := s.pump(a); a == s.lead && errors.Is(failed, os.ErrDeadlineExceeded) {
			err = failed
		}
	}
	s.mu.Lock()
	s.sending--
	s.dropFlight()
	s.mu.Unlock()
	return err
}

// dropFlight forgets the flight once nobody needs it any more. The caller holds mu.
func (s *stream) dropFlight() {
	if s.winner.Load() != nil && s.sending == 0 {
		s.flight = nil
	}
}

// CloseWrite implements transport.StreamConn.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	if w := s.winner.Load(); w != nil || s.closed {
		s.mu.Unlock()
		if w == nil {
			return net.ErrClosed
		}
		return w.conn.CloseWrite()
	}
	s.ended = true
	s.startClock()
	return s.pumpAll()
}

// CloseRead implements transport.StreamConn.
func (s *stream) CloseRead() error { return s.current().conn.CloseRead() }

// Close implements net.Conn.
func (s *stream) Close() error { return s.finish(net.Conn.Close) }

// Abort implements transport.Aborter.
func (s *stream) Abort() error { return s.finish(transport.Abort) }

// finish ends the flow's connection and waits for what it runs.
func (s *stream) finish(how func(net.Conn) error) error {
	s.mu.Lock()
	s.closed = true
	s.stopRivals()
	s.signal()
	a := s.current()
	a.path.exit(s)
	s.mu.Unlock()
	err := how(a.conn)
	s.rivals.Wait()
	return err
}

// signal has those who wait look again. The caller holds mu.
func (s *stream) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.current().conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return s.current().conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	s.readBy = t
	a, gone := s.current(), s.leadGone()
	s.signal()
	s.mu.Unlock()
	if gone {
		return nil
	}
	return a.conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	s.writeBy = t
	a, gone := s.current(), s.leadGone()
	s.signal()
	s.mu.Unlock()
	if gone {
		return nil
	}
	return a.conn.SetWriteDeadline(t)
}

// leadGone reports whether rivals try in the place of the first attempt. The caller holds mu.
func (s *stream) leadGone() bool { return s.leadErr != nil && s.winner.Load() == nil && !s.closed }
