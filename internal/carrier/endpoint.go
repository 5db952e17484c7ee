package carrier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// tryTime bounds an attempt, whether anybody waits for it or not.
const tryTime = 10 * time.Second

// ErrUnavailable says that this build has none of the modes that a target allows.
var ErrUnavailable = fmt.Errorf("not available in this build: %w", errors.ErrUnsupported)

// Endpoint reaches one target by the best of its modes that works. Several modes race, each with a head start
// before the next; what failed is remembered and tried again in the background, so that no flow waits for it.
// A single mode is strict: it works or the dial fails.
type Endpoint struct {
	Target  Target
	Dialers map[Mode]Dialer
	Memory  *Memory      // shared by the endpoints of one server; nil is one of its own
	Logger  *slog.Logger // nil logs nothing

	once    sync.Once
	attempt func() (context.Context, context.CancelFunc) // bounds one attempt
	stop    context.CancelFunc                           // ends them all

	inUse atomic.Uint32 // the mode that connected last; 0: none has

	mu      sync.Mutex
	closed  bool
	workers sync.WaitGroup // attempts
}

var _ transport.StreamEndpoint = (*Endpoint)(nil)

// ConnectStream implements transport.StreamEndpoint.
func (e *Endpoint) ConnectStream(ctx context.Context) (transport.StreamConn, error) {
	e.once.Do(e.fill)
	modes := e.modes()
	switch len(modes) {
	case 0:
		return nil, &Error{Mode: e.Target.Modes[0], Stage: StageConnect, Err: ErrUnavailable}
	case 1:
		return e.connectBy(ctx, modes[0])
	}
	p := e.Memory.plan(modes, time.Now())
	for _, mode := range p.look {
		e.work(func() { e.lookAgain(mode) })
	}
	r := race{
		endpoint: e,
		modes:    slices.Concat(p.race, p.last),
		fresh:    len(p.race),
		results:  make(chan outcome, len(modes)),
		running:  make(map[Mode]context.CancelFunc),
	}
	return r.run(ctx)
}

// connectBy connects by the only mode.
func (e *Endpoint) connectBy(ctx context.Context, mode Mode) (transport.StreamConn, error) {
	conn, err := e.Dialers[mode].DialCarrier(ctx, e.Target.URL)
	if err != nil {
		return nil, err
	}
	e.inUse.Store(uint32(mode))
	return conn, nil
}

// InUse is the mode that connected last, and 0 before the first has.
func (e *Endpoint) InUse() Mode { return Mode(e.inUse.Load()) }

func (e *Endpoint) fill() {
	if e.Memory == nil {
		e.Memory = new(Memory)
	}
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	all, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.attempt = func() (context.Context, context.CancelFunc) { return context.WithTimeout(all, tryTime) }
}

// work runs f in a goroutine that Close waits for. After Close it reports false.
func (e *Endpoint) work(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.workers.Go(f)
	}
	return !e.closed
}

// modes are those of the target that there is a dialer for.
func (e *Endpoint) modes() []Mode {
	var modes []Mode
	for _, mode := range e.Target.Modes {
		if _, ok := e.Dialers[mode]; ok {
			modes = append(modes, mode)
		}
	}
	return modes
}

// Close ends the attempts, those of dials included, and waits for them. What is open stays open.
func (e *Endpoint) Close() error {
	e.once.Do(e.fill)
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.stop()
	e.workers.Wait()
	return nil
}

// lookAgain tries a mode whose term is over.
func (e *Endpoint) lookAgain(mode Mode) {
	ctx, cancel := e.attempt()
	defer cancel()
	conn, err := e.Dialers[mode].DialCarrier(ctx, e.Target.URL)
	if err != nil {
		e.Memory.didNot(mode, time.Now())
		return
	}
	_ = conn.Close() // the connection below stays and carries the next flow
	e.comesBack(mode)
}

// comesBack notes that a mode works that nobody counted on.
func (e *Endpoint) comesBack(mode Mode) {
	if e.Memory.worked(mode) {
		e.Logger.Info("carrier works again", "carrier", mode.String())
	}
}
