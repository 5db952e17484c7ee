package carrier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Defaults of a Pool.
const (
	// defaultStreams is how many streams a session carries before another one is opened: a lost TCP segment
	// stalls all streams of its connection.
	defaultStreams = 32
	defaultConns   = 4
	defaultIdle    = 5 * time.Minute
	defaultDial    = 10 * time.Second
	// few is how many streams a session carries before idle ones are used again. Those end after a while,
	// which they never would if streams that come one by one went to each in turn.
	few = 4

	// maxSessions bounds the sessions of a pool when the server takes few streams on each.
	maxSessions = 64
	// maxAttempts is how often one flow tries: a session that goes away now and then is normal, one after
	// another is not.
	maxAttempts = 3
)

var (
	// ErrRetry says that the server did nothing with a stream, so that it may be opened again on another
	// session.
	ErrRetry = errors.New("server did nothing with the stream")
	// errSilent is why a stream is opened elsewhere.
	errSilent = fmt.Errorf("connection with the server is silent: %w", ErrRetry)
	// ErrFull says that the server takes no more streams on a session. Nothing was sent to it.
	ErrFull = errors.New("server takes no more streams on this connection")
	// errAllFull is what a flow meets when more sessions would be too many.
	errAllFull = errors.New("every connection with the server is full")
	// errAway is what a flow meets when no session that was opened for it took a stream.
	errAway = errors.New("server ends new sessions at once, or takes no streams on them")
)

// SuspectAfter is the silence by which a session is Suspect, unless its path takes more than half of that for
// a round trip: then two of those are.
const SuspectAfter = time.Second

// CheckTime is how long a session has for a sign of life after Check, unless its path is slow.
// LeftoverTime is for how long nothing counts as one but the answer: what comes then may have waited while
// the program was stopped, and be the last that the server ever sent.
const (
	CheckTime    = 1500 * time.Millisecond
	LeftoverTime = 100 * time.Millisecond
)

// Load is how busy a session is.
type Load struct {
	Streams int
	Room    bool // the server takes one more
	Busy    bool // bulk is moving, which small flows should not have to share a connection with
}

// Session is a connection that carries many streams. Its methods may be called concurrently.
type Session interface {
	// Open opens a stream with a WebSocket handshake for u. An error that is ErrRetry blames the session. One
	// that is ErrFull says that Load's Room is gone.
	Open(ctx context.Context, u *url.URL, header http.Header) (transport.StreamConn, error)
	Load() Load
	// Usable reports whether the session can carry another stream, now or once one has ended. A session that
	// cannot any more ends by itself with its last stream.
	Usable() bool
	// Ended reports whether the session is over.
	Ended() bool
	// Suspect reports whether the session has given no sign of life for SuspectAfter although it was asked
	// for one: a new stream is better opened elsewhere until it does.
	Suspect() bool
	// Check asks for a sign of life at once. Until one comes the session is Suspect, and when none comes
	// within CheckTime it ends.
	Check()
	// IdleSince is when the last stream ended; zero while there is one.
	IdleSince() time.Time
	// Close ends the session with all its streams and waits for what it runs.
	Close() error
}

// Spread says when a Pool opens another session although those it has would do.
type Spread struct {
	Streams int // streams on each session before another is opened; 0 = 32
	Conns   int // sessions to spread streams and bulk over; 0 = 4
}

// Pool shares sessions with one server among flows. A flow never waits for a dial while a session has room.
// Its fields must not change after the first Open.
type Pool struct {
	Dial func(ctx context.Context) (Session, error)

	Spread
	Idle        time.Duration // a session without streams is closed after it; 0 = 5 min
	DialTimeout time.Duration // for one dial, however many flows wait for it; 0 = 10 s
	// Patience is how long a flow waits for a dial that follows one which took longer than that and failed
	// within the last 10 s; 0 = as long as for any other.
	Patience time.Duration

	mu       sync.Mutex
	sessions []pooled
	dialing  *dialing    // the dial in progress; nil if there is none
	failed   failedDial  // the last one, if it was slow to fail
	sweeper  *time.Timer // nil while there is nothing to sweep
	closed   bool
	workers  sync.WaitGroup
}

// pooled is a session of a pool.
type pooled struct {
	Session
	opened time.Time
}

// refused says which sessions a flow does not want.
type refused struct {
	tried  []Session
	before time.Time // those that were opened before it
}

// Open opens a stream on the session with the least load, and dials one if there is none with room.
func (p *Pool) Open(ctx context.Context, u *url.URL, header http.Header) (transport.StreamConn, error) {
	began := time.Now()
	var not refused
	for {
		session, err := p.session(ctx, not)
		if err != nil {
			return nil, err
		}
		conn, err := p.openOn(ctx, session, u, header)
		switch {
		case errors.Is(err, ErrFull): // another flow was faster; that is not the session's fault
			continue
		case !errors.Is(err, ErrRetry) || len(not.tried)+1 == maxAttempts:
			return conn, err
		case session.Ended() || errors.Is(err, errSilent):
			not.before = began // what killed this session has probably killed the others of its age
		}
		not.tried = append(not.tried, session)
	}
}

// openOn opens a stream on one session, and gives that up with ErrRetry when the session turns out to be
// silent: a connection that a network forgot takes much longer to be found dead than another one takes to
// open.
func (p *Pool) openOn(
	ctx context.Context, s Session, u *url.URL, h http.Header,
) (transport.StreamConn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var looking sync.WaitGroup
	over := make(chan struct{})
	looking.Go(func() {
		if turnsSuspect(s, over) {
			cancel(errSilent)
		}
	})
	conn, err := s.Open(ctx, u, h)
	close(over)
	looking.Wait()
	return conn, err
}

// turnsSuspect looks at a session until that is suspect, or over is closed.
func turnsSuspect(s Session, over <-chan struct{}) bool {
	ticker := time.NewTicker(SuspectAfter / 2)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return false
		case <-ticker.C:
			if s.Suspect() {
				return true
			}
		}
	}
}

// session returns a session with room that is not refused.
func (p *Pool) session(ctx context.Context, not refused) (Session, error) {
	for away := 0; away < maxAttempts; {
		s, d, err := p.pick(not)
		if s != nil || err != nil {
			return s, err
		}
		if err := d.wait(ctx, p.Patience); err != nil {
			if ctx.Err() == nil && p.isVoid(d) {
				continue
			}
			return nil, err
		}
		if l := d.session.Load(); !d.session.Usable() || l.Streams == 0 && !l.Room {
			away++ // it went away at once, or takes no streams at all
		}
	}
	return nil, errAway
}

// pick returns the session to use, or the dial to wait for.
func (p *Pool) pick(not refused) (Session, *dialing, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, net.ErrClosed
	}
	p.drop(Session.Ended)
	best, load, usable := p.least(not)
	spread := load >= orDefault(p.Streams, defaultStreams) && usable < orDefault(p.Conns, defaultConns)
	if p.dialing == nil && (spread || best == nil && usable < maxSessions) {
		p.dial()
	}
	if best == nil && p.dialing == nil {
		return nil, nil, errAllFull
	}
	return best, p.dialing, nil
}

// least returns the session with room and the least load, and how many are usable. A busy session counts as
// one with all the streams that it should have, an idle one as one with nearly a few. The caller holds mu.
func (p *Pool) least(not refused) (best Session, load, usable int) {
	rest := 2*min(few, orDefault(p.Streams, defaultStreams)) - 1 // half a stream less than that
	cheapest := 0
	for _, s := range p.sessions {
		if !s.Usable() {
			continue
		}
		usable++
		l := s.Load()
		if l.Busy {
			l.Streams += orDefault(p.Streams, defaultStreams)
		}
		cost := 2 * l.Streams
		if cost == 0 {
			cost = rest
		}
		wanted := !s.opened.Before(not.before) && !slices.Contains(not.tried, s.Session)
		if wanted && l.Room && !s.Suspect() && (best == nil || cost < cheapest) {
			best, load, cheapest = s.Session, l.Streams, cost
		}
	}
	return best, load, usable
}

// drop closes and forgets sessions. The caller holds mu.
func (p *Pool) drop(unwanted func(Session) bool) {
	p.sessions = slices.DeleteFunc(p.sessions, func(s pooled) bool {
		if !unwanted(s.Session) {
			return false
		}
		p.workers.Go(func() { _ = s.Close() })
		return true
	})
}

// sweepLater has sweep called. The caller holds mu.
func (p *Pool) sweepLater() {
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(orDefault(p.Idle, defaultIdle), p.sweep)
	}
}

// sweep closes sessions that have ended, and those that have been idle for long.
func (p *Pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweeper = nil
	if p.closed {
		return
	}
	oldest := time.Now().Add(-orDefault(p.Idle, defaultIdle))
	p.drop(func(s Session) bool {
		since := s.IdleSince()
		return s.Ended() || !since.IsZero() && !since.After(oldest)
	})
	if len(p.sessions) > 0 {
		p.sweepLater()
	}
}

// Close ends all sessions with their streams, and waits for everything that the pool runs.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	p.drop(func(Session) bool { return true })
	if p.dialing != nil {
		p.dialing.stop()
	}
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.mu.Unlock()
	p.workers.Wait()
	return nil
}

func orDefault[T ~int | ~int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}
