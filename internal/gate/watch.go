package gate

import (
	"context"
	"time"
)

const (
	// lookEvery is how often memory is looked at.
	lookEvery = 100 * time.Millisecond
	// stale is how old the last collection has to be before we ask for another one.
	stale = 100 * time.Millisecond
	// mercy is how long flows that were given up have to end before more are.
	mercy = 500 * time.Millisecond
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
	resident    int64     // what the process takes
	settled     int64     // the least that it took since then
	gave        time.Time // when flows were given up last

	complained time.Time
	logged     refusals
}

// state is how much memory is in use.
type state struct {
	tight  bool // the process takes five sixths of what it may
	short  bool // and it is no garbage: nobody else comes in
	danger bool // and it takes more than it may
}

// look shuts the gate while memory is short. What is left is for what the flows inside may still need: their
// stacks and buffers grow with every byte that moves. In danger it gives flows up, but never for what a
// collection would bring.
func (w *watch) look(ctx context.Context, now time.Time) {
	most := *w.limits.Load()
	if most.Process == 0 {
		w.short.Store(false)
		return
	}
	s := w.read(most, now)
	if s.tight && w.worthCollecting(most) && now.Sub(w.collected) >= stale {
		w.options.Memory.Collect()
		s = w.read(most, now)
	}
	w.short.Store(s.short)
	if s.danger && now.Sub(w.gave) >= mercy {
		w.giveUp(ctx)
		w.gave, w.settled = now, 0 // so that a collection shows what it brought
	}
}

func (w *watch) read(most Limits, now time.Time) state {
	used, collections := w.options.Memory.Use()
	resident := w.options.Memory.Resident()
	if collections != w.collections {
		w.collections, w.collected, w.settled = collections, now, resident
	}
	w.settled = min(w.settled, resident)
	w.resident = resident
	needed := used > most.Heap/8*7
	return state{
		tight:  resident > most.Process/6*5,
		short:  needed && resident > most.Process/6*5,
		danger: needed && resident > most.Process,
	}
}

// worthCollecting reports whether the process has grown since the last collection, which stacks do that no
// allocation accounts for, or somebody waits for what others may have left.
func (w *watch) worthCollecting(most Limits) bool {
	waiting := w.streams.waiting.Load() + w.packets.waiting.Load()
	return waiting > 0 || w.resident-w.settled > most.Process/64
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
