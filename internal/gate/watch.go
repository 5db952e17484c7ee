package gate

import (
	"context"
	"time"
)

const (
	// lookEvery is how often memory is looked at.
	lookEvery = 100 * time.Millisecond
	// stale is how long nothing may have been collected while somebody waits for memory.
	stale = 500 * time.Millisecond
	// complaintInterval is how often refusals are logged at most.
	complaintInterval = 10 * time.Second
	// oneIn is the share of the flows that is given up at once.
	oneIn = 16
)

// Run looks after memory until ctx ends, as long as there are limits, and logs refusals now and then.
func (g *Gate) Run(ctx context.Context) error {
	w := &watch{Gate: g}
	for {
		var next <-chan time.Time
		if *g.limits.Load() != (Limits{}) {
			next = time.After(lookEvery)
		}
		select {
		case <-next:
		case <-g.changed:
		case <-ctx.Done():
			return nil
		}
		w.look(ctx, time.Now())
		w.complain(ctx, time.Now())
	}
}

// watch is what Run remembers.
type watch struct {
	*Gate

	collections uint64
	collected   time.Time // when these were first seen
	gave        time.Time // when flows were given up last
	spared      uint64    // nothing is given up before so many collections

	complained time.Time
	logged     refusals
}

// look closes the gate when the process takes three quarters of what it may, and that is no garbage: four
// fifths of what the runtime may have are in use. The rest is for what the flows inside may still need, and
// keeps collections rare. When the process takes seven eighths, which collections could not prevent, it gives
// flows up, and waits for a whole collection to see what that brought.
func (w *watch) look(ctx context.Context, now time.Time) {
	most := w.limits.Load()
	if most.Process == 0 {
		w.short.Store(false)
		return
	}
	used, collections := w.options.Memory.Use()
	if collections != w.collections {
		w.collections, w.collected = collections, now
	}
	resident := w.options.Memory.Resident()
	w.short.Store(used > most.Heap/5*4 && resident > most.Process/4*3)
	danger := resident > most.Process/8*7
	waiting := w.streams.waiting.Load() + w.packets.waiting.Load()
	switch {
	case danger && collections >= w.spared && now.Sub(w.gave) >= stale:
		w.giveUp(ctx)
		w.spared, w.gave = collections+2, now // the next may be under way
	case (danger || w.short.Load() && waiting > 0) && now.Sub(w.collected) >= stale:
		w.options.Memory.Collect()
	}
}

func (w *watch) giveUp(ctx context.Context) {
	if w.options.GiveUp == nil {
		return
	}
	n := w.options.GiveUp(oneIn, ErrMemory)
	w.givenUp.Add(uint64(n))
	w.options.Logger.WarnContext(ctx, "newest flows cut", "reason", ErrMemory.Error(), "flows", n)
}

// refusals are counted by reason.
type refusals struct{ flows, memory uint64 }

// complain logs what was refused since the last time.
func (w *watch) complain(ctx context.Context, now time.Time) {
	if now.Sub(w.complained) < complaintInterval {
		return
	}
	s := w.Stats()
	refused := refusals{s.TCP.RefusedFlows + s.UDP.RefusedFlows, s.TCP.RefusedMemory + s.UDP.RefusedMemory}
	if refused == w.logged {
		return
	}
	for _, r := range []struct {
		reason error
		flows  uint64
	}{{ErrFlows, refused.flows - w.logged.flows}, {ErrMemory, refused.memory - w.logged.memory}} {
		if r.flows > 0 {
			w.options.Logger.WarnContext(ctx, "flows refused", "reason", r.reason.Error(), "flows", r.flows)
		}
	}
	w.complained, w.logged = now, refused
}
