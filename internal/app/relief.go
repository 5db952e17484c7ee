package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// reliefEvery is how often it is looked whether a rush of flows is over.
	reliefEvery = 30 * time.Second
	// rush is how many flows make one, and afterRush the share of them that may be left when it is over.
	rush      = 1000
	afterRush = 8
)

// relief gives memory back to the system when a rush of flows is over. Go's runtime does so too, in its own
// time: minutes after ten thousand flows the process still had three times what it had before.
type relief struct{ peak int64 }

// due takes note of how many flows are open, and reports whether a rush is over.
func (r *relief) due(open int64) bool {
	r.peak = max(r.peak, open)
	if r.peak < rush || open > r.peak/afterRush {
		return false
	}
	r.peak = open
	return true
}

// relieve looks after that until ctx ends.
func (a *App) relieve(ctx context.Context) {
	var r relief
	ticker := time.NewTicker(reliefEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if r.due(a.inbound.tcp.open.Load() + a.inbound.udp.open.Load()) {
			runtime.GC() // what pools still hold, and stacks, are garbage only after this one
			debug.FreeOSMemory()
		}
	}
}
