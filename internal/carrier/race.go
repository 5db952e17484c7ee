package carrier

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// race is one dial by several modes.
type race struct {
	endpoint *Endpoint
	modes    []Mode
	fresh    int // the first so many may start by the clock; the others only when those have all failed

	started int
	running map[Mode]context.CancelFunc
	failed  []Mode
	errs    []error

	mu      sync.Mutex
	over    bool         // nobody reads results any more
	winner  Mode         // valid then: those up to it are of no use any more
	results chan outcome // has room for all
}

// outcome is how one attempt ended.
type outcome struct {
	mode Mode
	conn transport.StreamConn
	err  error
	took time.Duration
}

// run starts one mode after the other, returns the first that connects and lets better ones that are still
// trying go on in the background: the connection that they open serves the next flow.
func (r *race) run(ctx context.Context) (transport.StreamConn, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.finish(H3) // nothing is better than that, so that all attempts are cancelled
			err := &Error{Mode: r.modes[max(r.started, 1)-1], Stage: StageConnect, Err: context.Cause(ctx)}
			return nil, JoinErrors(append(r.errs, err))
		case <-timer.C:
			r.startNext(timer)
		case o := <-r.results:
			delete(r.running, o.mode)
			if o.err == nil {
				r.settle(o)
				return o.conn, nil
			}
			r.errs, r.failed = append(r.errs, o.err), append(r.failed, o.mode)
			r.startNext(timer)
		}
		if len(r.running) == 0 {
			return nil, JoinErrors(r.errs)
		}
	}
}

// startNext starts the next mode if it may start.
func (r *race) startNext(timer *time.Timer) {
	late := r.started >= r.fresh
	if r.started == len(r.modes) || late && len(r.running) > 0 {
		return
	}
	mode := r.modes[r.started]
	r.started++
	ctx, cancel := r.endpoint.attempt()
	if !r.endpoint.work(func() { defer cancel(); r.attempt(ctx, mode) }) {
		cancel()
		r.errs = append(r.errs, &Error{Mode: mode, Stage: StageConnect, Err: net.ErrClosed})
		return
	}
	r.running[mode] = cancel
	timer.Reset(r.endpoint.Memory.headStart(mode, time.Now()))
}

// attempt dials one mode. When the race is over by then, a connection is of no use, but that it came is.
func (r *race) attempt(ctx context.Context, mode Mode) {
	began := time.Now()
	conn, err := r.endpoint.Dialers[mode].DialCarrier(ctx, r.endpoint.Target.URL)
	o := outcome{mode, conn, err, time.Since(began)}
	r.mu.Lock()
	over := r.over
	if !over {
		r.results <- o
	}
	r.mu.Unlock()
	if over {
		r.late(o)
	}
}

// settle remembers who failed now that one worked, and which better modes are late: the next flow does not
// wait for those.
func (r *race) settle(won outcome) {
	m, now := r.endpoint.Memory, time.Now()
	r.endpoint.inUse.Store(uint32(won.mode))
	m.worked(won.mode)
	m.took(won.mode, won.took, now)
	for _, mode := range r.failed {
		if m.didNot(mode, now) {
			r.steppedDown(won.mode, mode)
		}
	}
	for mode := range r.running {
		if mode > won.mode {
			m.late(mode, now)
		}
	}
	r.finish(won.mode)
}

func (r *race) steppedDown(winner, from Mode) {
	r.endpoint.Logger.Info("stepped down", "carrier", winner.String(), "from", from.String())
}

// finish cancels the attempts that are not better than the winner, and leaves the others to themselves.
func (r *race) finish(winner Mode) {
	r.mu.Lock()
	r.over, r.winner = true, winner
	r.mu.Unlock()
	for mode, cancel := range r.running {
		if mode <= winner {
			cancel()
		}
	}
	for {
		select {
		case o := <-r.results:
			r.late(o)
		default:
			return
		}
	}
}

// late takes the outcome of an attempt that lost. Only now is it known whether a mode that was late does not
// work; one that was stopped says nothing about itself.
func (r *race) late(o outcome) {
	switch {
	case o.err == nil:
		_ = o.conn.Close() // the connection below stays and carries the next flow
		r.endpoint.comesBack(o.mode)
	case o.mode <= r.winner || errors.Is(o.err, context.Canceled) || errors.Is(o.err, net.ErrClosed):
		// it need not try any more, or the program ends
	case r.endpoint.Memory.inTheEnd(o.mode, time.Now()):
		r.steppedDown(r.winner, o.mode)
	}
}
