package carrier

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Defaults of a Pool.
const (
	// defaultStreams is how many streams a connection carries before another one is opened: a lost TCP
	// segment stalls all streams of its connection.
	defaultStreams = 32
	defaultConns   = 8
	defaultIdle    = 5 * time.Minute
	defaultDial    = 10 * time.Second
)

var (
	// ErrRetry says that the server did nothing with a stream, so that it may be opened again on another
	// session.
	ErrRetry = errors.New("server did nothing with the stream")
	// errPoolClosed is what Open meets after Close.
	errPoolClosed = errors.New("pool is closed")
)

// Session is a connection that carries many streams. Its methods may be called concurrently.
type Session interface {
	// Open opens a stream with a WebSocket handshake for u. An error that is ErrRetry blames the session.
	Open(ctx context.Context, u *url.URL, header http.Header) (transport.StreamConn, error)
	// Load is how many streams there are, and whether one more is possible and sensible.
	Load() (streams int, room bool)
	// Usable reports whether the session can carry another stream, now or once one has ended. A session that
	// cannot any more ends by itself with its last stream.
	Usable() bool
	// Ended reports whether the session is over.
	Ended() bool
	// IdleSince is when the last stream ended; zero while there is one.
	IdleSince() time.Time
	// Close ends the session with all its streams and waits for what it runs.
	Close() error
}

// Pool shares sessions with one server among flows. A flow never waits for a dial while a session has room.
// Its fields must not change after the first Open.
type Pool struct {
	Dial func(ctx context.Context) (Session, error)

	Streams     int           // per session before another is opened; 0 = 32
	Conns       int           // sessions at most; 0 = 8
	Idle        time.Duration // a session without streams is closed after it; 0 = 5 min
	DialTimeout time.Duration // for one dial, however many flows wait for it; 0 = 10 s

	mu       sync.Mutex
	sessions []Session
	dialing  *dialing // the dial in progress; nil if there is none
	sweeper  *time.Timer
	closed   bool
	workers  sync.WaitGroup
}

// dialing is one dial that several flows wait for.
type dialing struct {
	done chan struct{} // closed when it is over
	err  error         // valid then
	stop context.CancelFunc
}

// Open opens a stream on the session with the least load, and dials one if there is none with room.
func (p *Pool) Open(ctx context.Context, u *url.URL, header http.Header) (transport.StreamConn, error) {
	const attempts = 3 // a session that goes away now and then is normal, one after another is not
	var last error
	for range attempts {
		session, err := p.session(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := session.Open(ctx, u, header)
		if !errors.Is(err, ErrRetry) {
			return conn, err
		}
		last = err
	}
	return nil, last
}

// session returns a session with room.
func (p *Pool) session(ctx context.Context) (Session, error) {
	for {
		s, d, err := p.pick()
		if s != nil || err != nil {
			return s, err
		}
		select {
		case <-d.done:
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// pick returns the session to use, or the dial to wait for.
func (p *Pool) pick() (Session, *dialing, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errPoolClosed
	}
	p.drop(Session.Ended)
	best, load, usable := p.least()
	full := best == nil || load >= orDefault(p.Streams, defaultStreams)
	if full && p.dialing == nil && usable < orDefault(p.Conns, defaultConns) {
		p.dial()
	}
	if best == nil && p.dialing == nil {
		return nil, nil, errors.New("every session with the server is full")
	}
	return best, p.dialing, nil
}

// least returns the session with room and the fewest streams, and how many are usable. The caller holds mu.
func (p *Pool) least() (best Session, load, usable int) {
	for _, s := range p.sessions {
		if !s.Usable() {
			continue
		}
		usable++
		if streams, room := s.Load(); room && (best == nil || streams < load) {
			best, load = s, streams
		}
	}
	return best, load, usable
}

// dial starts a dial, which goes on when the flow that needed it gives up: the next one will need it too. The
// caller holds mu.
func (p *Pool) dial() {
	ctx, cancel := context.WithTimeout(context.Background(), orDefault(p.DialTimeout, defaultDial))
	d := &dialing{done: make(chan struct{}), stop: cancel}
	p.dialing = d
	p.workers.Go(func() {
		defer cancel()
		s, err := p.Dial(ctx)
		p.dialed(d, s, err)
	})
}

func (p *Pool) dialed(d *dialing, s Session, err error) {
	p.mu.Lock()
	d.err = err
	p.dialing = nil
	keep := err == nil && !p.closed
	if keep {
		p.sessions = append(p.sessions, s)
		p.sweepLater()
	}
	close(d.done)
	p.mu.Unlock()
	if err == nil && !keep {
		_ = s.Close()
	}
}

// drop closes and forgets sessions. The caller holds mu.
func (p *Pool) drop(unwanted func(Session) bool) {
	p.sessions = slices.DeleteFunc(p.sessions, func(s Session) bool {
		if !unwanted(s) {
			return false
		}
		p.workers.Go(func() { _ = s.Close() })
		return true
	})
}

func (p *Pool) sweepLater() {
	idle := orDefault(p.Idle, defaultIdle)
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(idle, p.sweep)
		return
	}
	p.sweeper.Reset(idle)
}

// sweep closes sessions that have been idle for long.
func (p *Pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	oldest := time.Now().Add(-orDefault(p.Idle, defaultIdle))
	p.drop(func(s Session) bool {
		since := s.IdleSince()
		return !since.IsZero() && !since.After(oldest)
	})
	if len(p.sessions) > 0 {
		p.sweepLater()
	}
}

// Close ends all sessions with their streams.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	sessions := p.sessions
	p.sessions = nil
	if p.dialing != nil {
		p.dialing.stop()
	}
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.mu.Unlock()
	for _, s := range sessions {
		_ = s.Close()
	}
	p.workers.Wait()
	return nil
}

func orDefault[T ~int | ~int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}
