package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// slowRTTs is how many round trips a path may take for what it is asked, however small the configured
// patience: a cold handshake takes four, and a busy target one or two more.
const slowRTTs = 6

var errOvertaken = errors.New("another upstream was reached while this one stayed silent")

// opening is one connection that several paths are tried for.
type opening[D any, C io.Closer] struct {
	group   *group[D]
	lineup  *lineup[D]
	dial    func(context.Context, D) (C, error)
	results chan opened[D, C] // has room for all
	tried   []*path[D]
	began   time.Time
	hopeful bool // first may be tried once more
	running map[*path[D]]time.Time
	until   time.Time // no further path is tried after it; zero: never

	mu   sync.Mutex
	over bool // nobody reads results any more
}

type opened[D any, C io.Closer] struct {
	path *path[D]
	conn C
	err  error
}

// drop ends a dial that nobody waits for any more.
func (r opened[D, C]) drop() {
	if r.err == nil {
		_ = r.conn.Close()
	}
	r.path.dial(-1)
}

// open opens a connection on first, and on other paths in their order when that fails, or beside it when that
// takes its time. It returns the path that was reached, on which the dial is still counted.
func open[D any, C io.Closer](
	ctx context.Context, g *group[D], first *path[D], dial func(context.Context, D) (C, error),
) (conn C, p *path[D], err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := &opening[D, C]{
		group: g, lineup: g.lineup.Load(), dial: dial, running: make(map[*path[D]]time.Time),
	}
	// The first path may have left the lineup, and may be tried twice.
	o.results = make(chan opened[D, C], len(o.lineup.paths)+2)
	defer o.finish()
	o.began = time.Now()
	o.hopeful = first.usable(o.began)
	if d := g.options().Failover.Deadline; d > 0 {
		o.until = o.began.Add(d)
	}
	o.start(ctx, first)
	timer := time.NewTimer(g.patienceFor(first))
	defer timer.Stop()
	var errs []error
	for {
		select {
		case <-ctx.Done():
			return conn, nil, context.Cause(ctx)
		case <-timer.C:
			last := first
			if p := o.nextUsable(first); p != nil {
				o.start(ctx, p)
				last = p
			}
			timer.Reset(max(g.patienceFor(last), minPatience)) // who cannot be used now may be back soon
		case r := <-o.results:
			delete(o.running, r.path)
			if r.err == nil {
				o.overtake()
				return r.conn, r.path, nil
			}
			errs = append(errs, r.err)
			if p := o.failed(ctx, first, r); p != nil {
				timer.Reset(g.patienceFor(p))
			} else if len(o.running) == 0 {
				return conn, nil, cmp.Or(context.Cause(ctx), error(&unreachedError{errs}))
			}
		}
	}
}

// failed books a failure, and tries another path if there is one, which it returns.
func (o *opening[D, C]) failed(ctx context.Context, first *path[D], r opened[D, C]) *path[D] {
	defer r.path.dial(-1)
	if ctx.Err() != nil { // the client's doing, not the upstream's
		return nil
	}
	if !health.IsLocal(r.err) {
		o.group.failed(r.path, r.err)
	}
	p := o.nextPath(first)
	if p != nil {
		o.start(ctx, p)
	} else if len(o.running) == 0 {
		o.onceMore(ctx, first, r.err)
	}
	return p
}

// patienceFor is how long a path may take before another is tried beside it.
func (g *group[D]) patienceFor(p *path[D]) time.Duration {
	if f := &g.options().Failover; f.Hedge > 0 {
		return f.patience()
	}
	return g.silenceOf(p)
}

// silenceOf is how long a path may leave unanswered what it is asked until it is to blame.
func (g *group[D]) silenceOf(p *path[D]) time.Duration {
	limit := g.options().Failover.Silence
	if limit <= 0 {
		return never
	}
	return max(limit, slowRTTs*p.Health.Status(time.Now()).RTT)
}

// never is longer than any flow waits.
const never = 100 * time.Hour

// nextPath returns the best path that was not tried, or nil.
func (o *opening[D, C]) nextPath(first *path[D]) *path[D] {
	now := time.Now()
	if !o.until.IsZero() && now.After(o.until) {
		return nil
	}
	for _, p := range o.lineup.alternatives(now, first) {
		if !slices.Contains(o.tried, p) {
			return p
		}
	}
	return nil
}

// nextUsable is nextPath for as long as the paths are known to work: one that does not is no help to one that
// only takes its time.
func (o *opening[D, C]) nextUsable(first *path[D]) *path[D] {
	if p := o.nextPath(first); p != nil && p.usable(time.Now()) {
		return p
	}
	return nil
}

const (
	// againWithin is how soon all paths must have failed for the first one to be tried once more: a server
	// that is restarted, or the odd answer of a proxy before it, costs no flow then. Who waited had time.
	againWithin = time.Second
	againPause  = 200 * time.Millisecond
)

// onceMore tries the first path again after a moment, now that all have failed, if it was known to work.
func (o *opening[D, C]) onceMore(ctx context.Context, first *path[D], err error) {
	hopeless := health.IsLocal(err) || health.IsNoNetwork(err)
	if o.hopeful && !hopeless && time.Since(o.began) < againWithin {
		o.hopeful = false
		o.startAfter(ctx, againPause, first)
	}
}

// start dials one path.
func (o *opening[D, C]) start(ctx context.Context, p *path[D]) { o.startAfter(ctx, 0, p) }

// startAfter dials one path after a pause.
func (o *opening[D, C]) startAfter(ctx context.Context, pause time.Duration, p *path[D]) {
	o.running[p] = time.Now()
	o.tried = append(o.tried, p)
	p.dial(1)
	o.group.workers.Go(func() {
		sleep(ctx, pause)
		conn, err := o.dial(ctx, p.Dialer)
		o.mu.Lock()
		over := o.over
		if !over {
			o.results <- opened[D, C]{p, conn, err}
		}
		o.mu.Unlock()
		if over {
			opened[D, C]{p, conn, err}.drop()
		}
	})
}

// sleep returns early when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// finish closes what connects too late.
func (o *opening[D, C]) finish() {
	o.mu.Lock()
	o.over = true
	o.mu.Unlock()
	for {
		select {
		case r := <-o.results:
			r.drop()
		default:
			return
		}
	}
}

// overtake books the silence of the paths that had longer than they should need and were not reached.
func (o *opening[D, C]) overtake() {
	for p, since := range o.running {
		if time.Since(since) >= o.group.silenceOf(p) {
			o.group.failed(p, errOvertaken)
		}
	}
}

// unreachedError is ErrNoUpstream with what every member said, on one line.
type unreachedError struct{ errs []error }

func (e *unreachedError) Error() string {
	causes := make([]string, 0, len(e.errs))
	for _, err := range e.errs {
		causes = append(causes, err.Error())
	}
	return fmt.Sprintf("%v reached: %s", ErrNoUpstream, strings.Join(causes, "; "))
}

func (e *unreachedError) Unwrap() []error {
	return append(e.errs[:len(e.errs):len(e.errs)], ErrNoUpstream)
}
