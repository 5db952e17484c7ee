package upstream

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

const (
	// renewAfter is the age at which a ready connection is replaced, and renewSpread by how much it varies.
	// Servers want the first bytes of a stream within 30 s (outline-ss-rust) or 59 s (Outline).
	renewAfter  = 20 * time.Second
	renewSpread = 5 * time.Second
	// lastAge is when it goes although no other took its place.
	lastAge = 28 * time.Second
	// proofAge is the age at which a connection shows that the server keeps what it takes.
	proofAge = 5 * time.Second

	// maxAhead bounds what the demand alone keeps ready, and maxDials how many are opened at a time.
	maxAhead = 32
	maxDials = 16

	defaultInterval    = 2 * time.Second
	defaultStandbyPing = 15 * time.Second
	defaultStandbyPong = 1200 * time.Millisecond
	defaultDialLimit   = 10 * time.Second
)

// Standby says how connections are kept ready. The zero value is usable.
type Standby struct {
	Interval          time.Duration // between checks at least; 0 = 2 s
	Keepalive         bool          // ping what is ready
	KeepaliveInterval time.Duration // silence before a ping; 0 = 15 s
	KeepaliveTimeout  time.Duration // silence after it by which the server is dead; 0 = 1.2 s
}

// options are those of a WebSocket while it is ready.
func (s Standby) options(flows websocket.Options) websocket.Options {
	flows.PingAfter = -1
	if s.Keepalive {
		flows.PingAfter = orDefault(s.KeepaliveInterval, defaultStandbyPing)
	}
	flows.PongLimit = orDefault(s.KeepaliveTimeout, defaultStandbyPong)
	return flows
}

// connection is what standby asks of a WebSocket.
type connection interface {
	WaitRead() error
	SetReadDeadline(t time.Time) error
	SetKeepAlive(o websocket.Options)
	Strained() bool
	Leave()
	Close() error
}

// standby opens WebSockets, and keeps some ready after their handshake to hand them out without a round trip.
// A goroutine for each reads from it, so that its death is seen at once and its pings are answered.
type standby[C connection] struct {
	open     opener[C]
	flows    websocket.Options // of what carries a flow
	idle     websocket.Options // of what is ready
	interval time.Duration
	limit    time.Duration // on one dial
	log      *slog.Logger
	lost     func()

	mu      sync.Mutex
	dials   context.Context //nolint:containedctx // ends with the next change of the network
	stop    context.CancelFunc
	keep    int  // how many are to be ready at least; 0 = none
	resting bool // there is no network
	closed  bool
	ready   []*warm[C] // oldest first
	dialing int
	demand  demand
	opening time.Duration // what a dial takes, smoothed; 0 before the first
	doubt   doubt
	timer   *time.Timer // for the next look; nil before the first
	workers sync.WaitGroup
}

// opener opens one WebSocket.
type opener[C connection] func(ctx context.Context, o websocket.Options) (C, error)

func newStandby[C connection](c Config, open opener[C]) *standby[C] {
	s := &standby[C]{
		open:     open,
		flows:    c.WebSocket,
		idle:     c.Standby.options(c.WebSocket),
		interval: orDefault(c.Standby.Interval, defaultInterval),
		limit:    orDefault(c.DialTimeout, defaultDialLimit),
		log:      c.WebSocket.Logger,
		lost:     c.OnLost,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.dials, s.stop = context.WithCancel(context.Background()) //nolint:gosec // Close calls stop
	return s
}

// connect returns a ready connection, or dials where there is none.
func (s *standby[C]) connect(ctx context.Context) (C, error) {
	s.update(func(now time.Time) { s.demand.ask(now) })
	for {
		w := s.claim()
		if w == nil {
			return s.dialFlow(ctx)
		}
		if w.handOver(s.flows) {
			s.update(func(time.Time) { s.doubt.proved(w.born) })
			return w.conn, nil
		}
		s.died(w)
	}
}

// dialFlow opens a connection for a flow. That it works ends a pause.
func (s *standby[C]) dialFlow(ctx context.Context) (C, error) {
	conn, err := s.open(ctx, s.flows)
	if err == nil {
		s.update(func(time.Time) { s.doubt.relent() })
	}
	return conn, err
}

// Keep says how many to keep ready; more are while flows come fast. 0 closes what is ready.
func (s *standby[C]) Keep(n int) {
	s.update(func(time.Time) {
		if s.keep == 0 {
			s.doubt.relent() // somebody knows why
		}
		s.keep = max(n, 0)
	})
}

// Rest closes what is ready, and opens nothing before Renew: there is no network.
func (s *standby[C]) Rest() {
	s.update(func(now time.Time) {
		s.resting = true
		s.abandon(now)
	})
}

// Renew replaces what is ready or under way, and forgets what failed: the network has changed.
func (s *standby[C]) Renew() {
	s.update(func(now time.Time) {
		s.resting, s.doubt = false, doubt{}
		s.abandon(now)
	})
}

// abandon has what is ready leave, and ends the dials. The caller holds mu.
func (s *standby[C]) abandon(now time.Time) {
	if s.closed {
		return
	}
	for _, w := range s.ready {
		w.last = now
	}
	s.stop()
	s.dials, s.stop = context.WithCancel(context.Background())
}

// Ready is how many are ready.
func (s *standby[C]) Ready() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready)
}

// Close closes what is ready and waits for everything that standby runs. What was handed out stays open.
func (s *standby[C]) Close() {
	s.update(func(time.Time) {
		s.closed = true
		s.stop()
	})
	s.workers.Wait()
}

// update changes the state and does what follows from it.
func (s *standby[C]) update(change func(now time.Time)) {
	s.mu.Lock()
	now := time.Now()
	change(now)
	leaving := s.tend(now)
	s.mu.Unlock()
	for _, w := range leaving {
		w.interrupt()
	}
}

// tend opens what is missing, and returns what must leave. The caller holds mu, and interrupts those without.
func (s *standby[C]) tend(now time.Time) (leaving []*warm[C]) {
	target := s.target(now)
	leaving = s.release(now, target)
	fresh, unproved := 0, s.dialing
	for _, w := range s.ready {
		if now.Before(w.renew) {
			fresh++
		}
		if now.Before(w.proof) {
			unproved++
			continue
		}
		s.doubt.proved(w.born)
	}
	few := min(target-fresh, maxDials, s.doubt.limit(now)-unproved+s.dialing)
	for dials := s.dials; s.dialing < few; {
		s.dialing++
		s.workers.Go(func() { s.dial(dials) })
	}
	s.lookAgain(now)
	return leaving
}

// target is how many should be ready or on their way.
func (s *standby[C]) target(now time.Time) int {
	if s.closed || s.resting || s.keep == 0 {
		return 0
	}
	return max(s.keep, min(maxAhead, s.demand.within(now, s.opening)))
}

// release takes out what is too old, once another has its place, or what nobody needs at all.
func (s *standby[C]) release(now time.Time, target int) (leaving []*warm[C]) {
	surplus := len(s.ready) - target
	s.ready = slices.DeleteFunc(s.ready, func(w *warm[C]) bool {
		old := !now.Before(w.renew) && surplus > 0
		if target > 0 && !old && now.Before(w.last) && !w.slept(now) {
			return false
		}
		surplus--
		w.fate = leaves
		leaving = append(leaving, w)
		return true
	})
	return leaving
}

// lookAgain has tend called when time alone changes what it does. The caller holds mu.
func (s *standby[C]) lookAgain(now time.Time) {
	if s.closed || s.resting || s.keep == 0 {
		if s.timer != nil {
			s.timer.Stop()
		}
		return
	}
	next := now.Add(s.interval)
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	sooner(s.doubt.until)
	for _, w := range s.ready {
		sooner(w.proof)
		sooner(w.renew)
		sooner(w.last)
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(next.Sub(now), func() { s.update(func(time.Time) {}) })
		return
	}
	s.timer.Reset(next.Sub(now))
}

// dial opens one connection and attends it, unless the network changes first.
func (s *standby[C]) dial(dials context.Context) {
	ctx, cancel := context.WithTimeout(dials, s.limit)
	defer cancel()
	began := time.Now()
	conn, err := s.open(ctx, s.idle)
	if err != nil {
		s.log.DebugContext(ctx, "standby dial failed", "err", err)
	}
	s.update(func(now time.Time) {
		s.dialing--
		if err != nil {
			if dials.Err() == nil {
				s.doubt.failed(now)
			}
			return
		}
		s.opening = smooth(s.opening, now.Sub(began))
		w := newWarm(conn, now)
		if dials.Err() != nil {
			w.last = now // it came too late
		}
		s.ready = append(s.ready, w)
		s.workers.Go(func() { s.attend(w) })
	})
}
