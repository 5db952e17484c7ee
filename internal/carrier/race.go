package carrier

import (
	"context"
	"errors"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// race is one dial by several modes.
type race struct {
	endpoint *Endpoint
	modes    []Mode
	fresh    int // the first so many may start by the clock; the others only when those have all failed

	results chan outcome
	started int
	running int
	errs    []error
	failed  []Mode
}

// outcome is how one attempt ended.
type outcome struct {
	mode Mode
	conn transport.StreamConn
	err  error
}

// run starts one mode after the other, returns the first that connects and lets better ones that are still
// trying go on in the background: the connection that they open serves the next flow.
func (r *race) run(ctx context.Context) (transport.StreamConn, error) {
	r.results = make(chan outcome, len(r.modes))
	// Attempts outlive the dial that started them, but not its cancellation while it waits for them.
	attempts, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryTime)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			r.startNext(attempts, timer)
		case o := <-r.results:
			r.running--
			if o.err == nil {
				r.settle(o.mode, cancel)
				return o.conn, nil
			}
			r.errs, r.failed = append(r.errs, o.err), append(r.failed, o.mode)
			if !r.startNext(attempts, timer) && r.running == 0 {
				cancel()
				return nil, errors.Join(r.errs...)
			}
		case <-ctx.Done():
			cancel()
			r.abandon()
			return nil, &Error{Mode: r.modes[r.started-1], Stage: StageConnect, Err: context.Cause(ctx)}
		}
	}
}

// startNext starts the next mode if it may start, and reports whether it did.
func (r *race) startNext(ctx context.Context, timer *time.Timer) bool {
	late := r.started >= r.fresh
	if r.started == len(r.modes) || late && r.running > 0 {
		return false
	}
	mode := r.modes[r.started]
	r.started++
	r.running++
	r.endpoint.workers.Go(func() {
		conn, err := r.endpoint.Dialers[mode].DialCarrier(ctx, r.endpoint.Target.URL)
		r.results <- outcome{mode, conn, err}
	})
	timer.Reset(headStart(mode))
	return true
}

// settle remembers who failed now that one worked, and looks after those still trying.
func (r *race) settle(winner Mode, cancel context.CancelFunc) {
	now := time.Now()
	for _, mode := range r.failed {
		r.endpoint.Memory.didNot(mode, now)
		r.endpoint.Logger.Info("stepped down", "carrier", winner.String(), "from", mode.String())
	}
	r.endpoint.Memory.worked(winner)
	running, better := r.running, r.betterThan(winner)
	if running == 0 {
		cancel()
		return
	}
	if !better {
		cancel() // worse ones are not worth an attempt
	}
	r.endpoint.workers.Go(func() {
		defer cancel()
		for range running {
			r.late(<-r.results, better)
		}
	})
}

// betterThan reports whether a mode that is better than the winner is still trying.
func (r *race) betterThan(winner Mode) bool {
	for _, mode := range r.modes[:r.started] {
		if mode > winner && r.running > 0 {
			return true
		}
	}
	return false
}

// late takes the outcome of an attempt that lost.
func (r *race) late(o outcome, wanted bool) {
	switch {
	case o.err == nil:
		_ = o.conn.Close()
		r.endpoint.Memory.worked(o.mode)
	case wanted:
		r.endpoint.Memory.didNot(o.mode, time.Now())
	}
}

// abandon looks after attempts whose dial was given up.
func (r *race) abandon() {
	running := r.running
	if running == 0 {
		return
	}
	r.endpoint.workers.Go(func() {
		for range running {
			if o := <-r.results; o.err == nil {
				_ = o.conn.Close()
			}
		}
	})
}
