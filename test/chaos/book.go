package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// span is a phase as it was.
type span struct {
	name  string
	fault fault
	from  time.Duration // since the run began
}

// book keeps what a run has seen.
type book struct {
	began time.Time

	mu    sync.Mutex
	spans []span
	flows []flow
	lags  []lag
}

type lag struct{ at, late time.Duration }

// enter begins a phase.
func (b *book) enter(name string, f fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spans = append(b.spans, span{name, f, time.Since(b.began)})
}

func (b *book) add(f flow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flows = append(b.flows, f)
}

func (b *book) lag(late time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lags = append(b.lags, lag{time.Since(b.began), late})
}

// progress describes the last phase in a line, from the flows of it that have ended.
func (b *book) progress() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.spans) - 1
	var counted counts
	for _, f := range b.flows {
		if phaseOf(b.spans, f.began, f.decided()) == last {
			counted.add(f)
		}
	}
	return fmt.Sprintf("%6.1fs  %-22s %5d flows, %d lost, %d broken later, %d POSTs reset",
		time.Since(b.began).Seconds(), b.spans[last].name, counted.flows, counted.before, counted.after,
		counted.posts)
}

// phaseOf is the number of the phase that something belongs to which lasted for some time: the last one with
// a fault in it, or the last one.
func phaseOf(spans []span, from, until time.Duration) int {
	first, last := spanAt(spans, from), spanAt(spans, until)
	for i := last; i >= first; i-- {
		if spans[i].fault != calm {
			return i
		}
	}
	return last
}

// spanAt is the number of the phase at a time.
func spanAt(spans []span, at time.Duration) int {
	i, found := slices.BinarySearchFunc(spans, at, func(s span, at time.Duration) int {
		return cmp.Compare(s.from, at)
	})
	if found {
		return i
	}
	return max(i-1, 0)
}
