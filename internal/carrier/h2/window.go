package h2

import (
	"sync/atomic"
	"time"
)

const (
	// connWindow is the connection's receive window. Bytes of a connection are credited when they arrive, so
	// that one slow application cannot stop the others; the windows of the streams bound what is held.
	connWindow = 16 << 20
	// firstWindow is a stream's receive window before anything is known about the path. It takes 100 ms at 80
	// Mbit/s.
	firstWindow = 1 << 20
	// maxStreamWindow carries 1 Gbit/s over 250 ms.
	maxStreamWindow = 32 << 20
	// updateParts is how many updates refill a window.
	updateParts = 4
	// growSpeed is how much faster than one window per round trip the application must read for the window to
	// be what limits it. Twice the bandwidth-delay product is room enough.
	growSpeed = 2
)

// Budget bounds what all receive windows together may grow beyond their first size, in bytes. Its methods may
// be called concurrently.
type Budget struct{ left atomic.Int64 }

// NewBudget returns a budget of n bytes.
func NewBudget(n int64) *Budget {
	b := new(Budget)
	b.left.Store(n)
	return b
}

// take reports whether n bytes more were to be had.
func (b *Budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
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
	since time.Time
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
	at := now()
	// This part of the window went faster than growSpeed windows per round trip would allow for: grow.
	limit := time.Duration(float64(rtt) * growSpeed * float64(w.owed) / float64(w.size))
	if rtt > 0 && !w.since.IsZero() && at.Sub(w.since) < limit && w.size < maxStreamWindow && budget.take(w.size) {
		credit += w.size
		w.grown += w.size
		w.size *= 2
	}
	w.owed, w.since = 0, at
	w.left += credit
	return credit
}

// release gives back to the budget what growing took.
func (w *window) release(budget *Budget) {
	budget.give(w.grown)
	w.grown = 0
}
