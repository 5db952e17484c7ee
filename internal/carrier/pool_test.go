package carrier

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

const dialTime = 100 * time.Millisecond

// fakeServer dials fake sessions, which takes dialTime each.
type fakeServer struct {
	room  int   // streams per session
	err   error // of every dial
	dead  bool  // sessions go away as soon as they are there
	dials atomic.Int32

	mu       sync.Mutex
	sessions []*fakeSession
}

// fakeSession counts its streams.
type fakeSession struct {
	mu      sync.Mutex
	room    int
	streams int
	busy    bool
	doubted bool      // Suspect is true
	checks  int       // calls of Check
	silent  bool      // Open never ends, and Suspect says why
	breaks  bool      // the next Open ends it
	away    bool      // takes no more streams
	ended   bool      // or closed
	refuse  error     // what Open returns
	asked   time.Time // when Open was called first while silent
	idle    time.Time
	closing time.Duration // how long Close takes
}

func (f *fakeServer) dial(ctx context.Context) (Session, error) {
	f.dials.Add(1)
	select {
	case <-time.After(dialTime):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if f.err != nil {
		return nil, f.err
	}
	s := &fakeSession{room: f.room, idle: time.Now(), away: f.dead}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions = append(f.sessions, s)
	return s, nil
}

// loads are the numbers of streams of the sessions.
func (f *fakeServer) loads() (loads []int) {
	for _, s := range f.sessions {
		loads = append(loads, s.Load().Streams)
	}
	return loads
}

func (s *fakeSession) set(change func(s *fakeSession)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *fakeSession) Suspect() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubted || s.silent && !s.asked.IsZero() && time.Since(s.asked) >= SuspectAfter
}

func (s *fakeSession) Check() { s.set(func(s *fakeSession) { s.doubted, s.checks = true, s.checks+1 }) }

func (s *fakeSession) Open(ctx context.Context, _ *url.URL, _ http.Header) (transport.StreamConn, error) {
	s.mu.Lock()
	if s.silent {
		if s.asked.IsZero() {
			s.asked = time.Now()
		}
		s.mu.Unlock()
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	defer s.mu.Unlock()
	switch {
	case s.breaks:
		s.ended = true
		return nil, ErrRetry
	case s.refuse != nil:
		return nil, s.refuse
	case s.ended:
		return nil, ErrRetry
	case s.streams == s.room:
		return nil, ErrFull
	}
	s.streams++
	s.idle = time.Time{}
	a, _ := transporttest.Pipe()
	return a, nil
}

func (s *fakeSession) Load() Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Load{Streams: s.streams, Room: s.streams < s.room, Busy: s.busy}
}

func (s *fakeSession) Usable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.away && !s.ended
}

func (s *fakeSession) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *fakeSession) IdleSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idle
}

func (s *fakeSession) Close() error {
	s.set(func(s *fakeSession) { s.ended = true })
	time.Sleep(s.closing)
	return nil
}

// inPool runs a test with a pool of four sessions at most, with four streams on each if that can be.
func inPool(t *testing.T, f *fakeServer, test func(t *testing.T, p *Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{Dial: f.dial, Spread: Spread{Streams: 4}}
		defer p.Close()
		test(t, p)
	})
}

// open opens n streams one after the other and returns how long that took.
func (p *Pool) open(t *testing.T, n int) time.Duration {
	t.Helper()
	start := time.Now()
	for range n {
		if _, err := p.Open(context.Background(), nil, nil); err != nil {
			t.Errorf("Open() = %v, want nil", err)
		}
	}
	return time.Since(start)
}

func TestPoolDialsOnceForAll(t *testing.T) {
	f := &fakeServer{room: 100}
	inPool(t, f, func(t *testing.T, p *Pool) {
		var flows sync.WaitGroup
		for range 4 {
			flows.Go(func() {
				if took := p.open(t, 1); took != dialTime {
					t.Errorf("Open() took %v, want %v", took, dialTime)
				}
			})
		}
		flows.Wait()
		if took := p.open(t, 1); took != 0 {
			t.Errorf("Open() on a session with room took %v, want 0", took)
		}
		synctest.Wait()
		if n := f.dials.Load(); n != 2 { // the fifth stream had the second one dialled
			t.Errorf("dials = %d, want 2", n)
		}
	})
}

func TestPoolDialOutlivesWhoeverNeededIt(t *testing.T) {
	f := &fakeServer{room: 100}
	inPool(t, f, func(t *testing.T, p *Pool) {
		ctx, cancel := context.WithTimeout(context.Background(), dialTime/2)
		defer cancel()
		if _, err := p.Open(ctx, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open() = %v, want %v", err, context.DeadlineExceeded)
		}
		if took := p.open(t, 1); took != dialTime/2 {
			t.Errorf("Open() took %v, want the other %v", took, dialTime/2)
		}
		if n := f.dials.Load(); n != 1 {
			t.Errorf("dials = %d, want 1", n)
		}
	})
}

func TestPoolDialFails(t *testing.T) {
	f := &fakeServer{err: errors.New("refused")}
	inPool(t, f, func(t *testing.T, p *Pool) {
		for i := range 3 {
			if _, err := p.Open(t.Context(), nil, nil); !errors.Is(err, f.err) {
				t.Errorf("Open() = %v, want %v", err, f.err)
			}
			if n := int(f.dials.Load()); n != i+1 {
				t.Errorf("dials = %d, want %d", n, i+1)
			}
		}
	})
}

func TestPoolDialHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{Dial: func(ctx context.Context) (Session, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		defer p.Close()
		start := time.Now()
		if _, err := p.Open(t.Context(), nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open() = %v, want %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(start); took != defaultDial {
			t.Errorf("Open() took %v, want %v", took, defaultDial)
		}
	})
}

func TestPoolSpreadsWithoutMakingFlowsWait(t *testing.T) {
	f := &fakeServer{room: 1000}
	inPool(t, f, func(t *testing.T, p *Pool) {
		p.open(t, 4)
		if took := p.open(t, 3); took != 0 { // while the second session is dialled
			t.Errorf("Open() took %v, want 0", took)
		}
		time.Sleep(dialTime)
		synctest.Wait()
		p.open(t, 7)
		time.Sleep(dialTime)
		synctest.Wait()
		for range 100 {
			p.open(t, 1)
			time.Sleep(dialTime)
			synctest.Wait()
		}
		loads := f.loads()
		if len(loads) != defaultConns || slices.Max(loads)-slices.Min(loads) > 1 {
			t.Errorf("streams of the sessions = %v, want %d sessions with the same load", loads, defaultConns)
		}
	})
}

func TestPoolKeepsOffBulk(t *testing.T) {
	f := &fakeServer{room: 1000}
	inPool(t, f, func(t *testing.T, p *Pool) {
		p.open(t, 1)
		f.sessions[0].set(func(s *fakeSession) { s.busy = true })
		if took := p.open(t, 1); took != 0 {
			t.Errorf("Open() beside bulk took %v, want 0", took)
		}
		time.Sleep(dialTime)
		synctest.Wait()
		p.open(t, 3)
		if loads := f.loads(); !slices.Equal(loads, []int{2, 3}) {
			t.Errorf("streams of the sessions = %v, want [2 3]", loads)
		}
		f.sessions[0].set(func(s *fakeSession) { s.busy = false })
		p.open(t, 1)
		if loads := f.loads(); !slices.Equal(loads, []int{3, 3}) {
			t.Errorf("streams of the sessions after the bulk = %v, want [3 3]", loads)
		}
	})
}

// However few streams the server takes per session, all flows that come at once get one.
func TestPoolManyFlowsOnSmallSessions(t *testing.T) {
	f := &fakeServer{room: 10}
	inPool(t, f, func(t *testing.T, p *Pool) {
		var flows sync.WaitGroup
		for range 20 * f.room {
			flows.Go(func() { p.open(t, 1) })
		}
		flows.Wait()
		if loads := f.loads(); len(loads) < 20 || len(loads) > 21 {
			t.Errorf("streams of the sessions = %v, want 20 or 21 sessions", loads)
		}
	})
}

func TestPoolIsFull(t *testing.T) {
	f := &fakeServer{room: 1}
	inPool(t, f, func(t *testing.T, p *Pool) {
		p.open(t, maxSessions)
		if _, err := p.Open(t.Context(), nil, nil); !errors.Is(err, errAllFull) {
			t.Errorf("Open() = %v, want %v", err, errAllFull)
		}
		f.sessions[5].set(func(s *fakeSession) { s.streams = 0 })
		p.open(t, 1)
	})
}

func TestPoolRetriesElsewhere(t *testing.T) {
	f := &fakeServer{room: 100}
	inPool(t, f, func(t *testing.T, p *Pool) {
		p.open(t, 1)
		f.sessions[0].set(func(s *fakeSession) { s.refuse = &retry{} })
		if took := p.open(t, 1); took != dialTime {
			t.Errorf("Open() took %v, want that of a dial, %v", took, dialTime)
		}
		if loads := f.loads(); !slices.Equal(loads, []int{1, 1}) {
			t.Errorf("streams of the sessions = %v, want [1 1]", loads)
		}
		f.sessions[0].set(func(s *fakeSession) { s.refuse = errors.New("404") })
		if _, err := p.Open(t.Context(), nil, nil); err == nil || errors.Is(err, ErrRetry) {
			t.Errorf("Open() = %v, want the session's error", err)
		}
	})
}

// retry is an ErrRetry with a reason.
type retry struct{}

func (*retry) Error() string        { return "refused" }
func (*retry) Is(target error) bool { return target == ErrRetry }

// TestPoolLeavesASilentSession: what a network forgot costs a flow a second, and the next one nothing.
func TestPoolLeavesASilentSession(t *testing.T) {
	f := &fakeServer{room: 100}
	inPool(t, f, func(t *testing.T, p *Pool) {
		if _, err := p.Open(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		f.sessions[0].set(func(s *fakeSession) { s.silent = true })
		for _, want := range []time.Duration{SuspectAfter + dialTime, 0} {
			start := time.Now()
			if _, err := p.Open(t.Context(), nil, nil); err != nil {
				t.Errorf("Open() = %v, want nil", err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("Open() took %v, want %v", took, want)
			}
		}
	})
}

// TestPoolGivesUpOnServerWithoutStreams: MAX_CONCURRENT_STREAMS 0 must not cost a connection after another.
func TestPoolGivesUpOnServerWithoutStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{room: 0}
		p := &Pool{Dial: f.dial}
		defer p.Close()
		if _, err := p.Open(t.Context(), nil, nil); !errors.Is(err, errAway) {
			t.Errorf("Open() = %v, want %v", err, errAway)
		}
		if got := f.dials.Load(); got != maxAttempts {
			t.Errorf("dials = %d, want %d", got, maxAttempts)
		}
	})
}

func TestPoolGivesUpRetrying(t *testing.T) {
	f := &fakeServer{room: 100}
	inPool(t, f, func(t *testing.T, p *Pool) {
		dial := p.Dial
		p.Dial = func(ctx context.Context) (Session, error) {
			s, err := dial(ctx)
			s.(*fakeSession).refuse = &retry{}
			return s, err
		}
		if _, err := p.Open(t.Context(), nil, nil); !errors.Is(err, ErrRetry) {
			t.Errorf("Open() = %v, want %v", err, ErrRetry)
		}
		if n := f.dials.Load(); n != maxAttempts {
			t.Errorf("dials = %d, want %d", n, maxAttempts)
		}
	})
}

func TestPoolOfSessionsThatGoAwayAtOnce(t *testing.T) {
	f := &fakeServer{room: 100, dead: true}
	inPool(t, f, func(t *testing.T, p *Pool) {
		if _, err := p.Open(t.Context(), nil, nil); !errors.Is(err, errAway) {
			t.Errorf("Open() = %v, want %v", err, errAway)
		}
		if n := f.dials.Load(); n != maxAttempts {
			t.Errorf("dials = %d, want %d", n, maxAttempts)
		}
	})
}
