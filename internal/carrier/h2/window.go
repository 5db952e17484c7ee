package h2

import (
	"sync/atomic"
	"time"
)

const (
	// connWindow is the connection's receive window. Bytes of a connection are credited when they arrive, so
	// that one slow application cannot stop the others; the windows of the streams bound what is held.
	connWindow = 64 << 20
	// baseWindow and firstWindow are the usual Windows.Base and First. The latter takes 100 ms at 80 Mbit/s.
	baseWindow  = 256 << 10
	firstWindow = 1 << 20
	// maxStreamWindow carries 1 Gbit/s over 250 ms.
	maxStreamWindow = 32 << 20
	// updateParts is how many updates refill a window.
	updateParts = 8
)

// Windows are sizes of receive windows, in bytes.
type Windows struct {
	Base   int64 // what every stream may receive ahead of its application, however many there are
	First  int64 // a stream's before anything is known about the path, while half of Growth is left
	Growth int64 // what all together may have beyond Base each
}

// Budget bounds what all receive windows together may have beyond the base size. Its methods may be called
// concurrently.
type Budget struct {
	base, first int64
	left        atomic.Int64
	half        int64 // is not for streams that have yet to show that they need it
}

// NewBudget returns a budget of n bytes for windows of the usual sizes: 256 KiB each, and 1 MiB at first.
func NewBudget(n int64) *Budget {
	return NewBudgetOf(Windows{Base: baseWindow, First: firstWindow, Growth: n})
}

// NewBudgetOf returns a budget for windows of other sizes.
func NewBudgetOf(w Windows) *Budget {
	b := &Budget{base: w.Base, first: w.First, half: w.Growth / 2}
	b.left.Store(w.Growth)
	return b
}

// take takes n bytes if at least keep are left then, and reports whether it did.
func (b *Budget) take(n, keep int64) bool {
	if b.left.Add(-n) >= keep {
		return true
	}
	b.left.Add(n)
	return false
}

func (b *Budget) give(n int64) { b.left.Add(n) }

// window is the receive window of one stream. The connection's lock guards it.
type window struct {
	size  int64 // what the server may send ahead of the application
	left  int64 // of what it was told
	owed  int64 // read by the application and not credited yet
	grown int64 // taken from the budget

	since time.Time // when the measurement under way began
	moved int64     // credited since then
}

// newWindow returns a window of the first size, or of the base size when the budget is short, and by how much
// it is larger than the base size, which the server has to be told.
func newWindow(budget *Budget) (w window, extra int64) {
	if budget.take(budget.first-budget.base, budget.half) {
		extra = budget.first - budget.base
	}
	return window{size: budget.base + extra, left: budget.base + extra, grown: extra}, extra
}

// arrived counts n bytes and reports whether the server was allowed to send them.
func (w *window) arrived(n int64) bool {
	w.left -= n
	return w.left >= 0
}

// consumed counts n bytes that were read, and returns the credit to send now, or 0. rtt is 0 while it is not
// known.
func (w *window) consumed(n int64, now func() time.Time, rtt time.Duration, budget *Budget) int64 {
	w.owed += n
	if w.owed < w.size/updateParts {
		return 0
	}
	credit := w.owed
	w.owed = 0
	w.moved += credit
	if w.limits(now(), rtt) && w.size < maxStreamWindow && budget.take(w.size, 0) {
		credit += w.size
		w.grown += w.size
		w.size *= 2
	}
	w.left += credit
	return credit
}

// limits reports whether the window may be what limits the stream, which is when more than half of it was
// used per round trip. It measures over one round trip at least, because a burst says nothing.
func (w *window) limits(now time.Time, rtt time.Duration) bool {
	took := now.Sub(w.since)
	if rtt <= 0 || took < rtt {
		return false
	}
	perTrip := float64(w.moved) * float64(rtt) / float64(took)
	w.since, w.moved = now, 0
	return perTrip > float64(w.size)/2
}

// release gives back to the budget what was taken from it.
func (w *window) release(budget *Budget) {
	budget.give(w.grown)
	w.grown = 0
}
