package carrier

import (
	"sync"
	"time"
)

// How long a mode that failed is not tried before the others, and how that grows while it goes on failing.
const (
	firstTerm = time.Minute
	maxTerm   = 10 * time.Minute
)

// Memory remembers which modes of one server do not work. The zero value remembers nothing yet; its methods
// may be called concurrently.
type Memory struct {
	mu     sync.Mutex
	failed [H3 + 1]failure
}

// failure is what is known of a mode that does not work.
type failure struct {
	until    time.Time     // zero: it works, or was never tried
	term     time.Duration // the last one
	retrying bool          // a try in the background is under way
}

// plan is how to go about one dial.
type plan struct {
	race []Mode // to try against each other, best first
	last []Mode // known not to work: to try when all else failed
	look []Mode // whose term is over: to try in the background
}

// plan divides the modes by what is known of them.
func (m *Memory) plan(modes []Mode, now time.Time) (p plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mode := range modes {
		f := &m.failed[mode]
		switch {
		case f.until.IsZero():
			p.race = append(p.race, mode)
			continue
		case now.After(f.until) && !f.retrying:
			p.look = append(p.look, mode)
		}
		p.last = append(p.last, mode)
	}
	if len(p.race) == 0 { // nothing works as far as we know: then everything is worth a try
		return plan{race: p.last}
	}
	for _, mode := range p.look {
		m.failed[mode].retrying = true
	}
	return p
}

// worked forgets the failures of a mode, and reports whether there were any.
func (m *Memory) worked(mode Mode) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	failed := !m.failed[mode].until.IsZero()
	m.failed[mode] = failure{}
	return failed
}

// didNot notes a failure of a mode while another one worked, or of a try in the background, and reports
// whether that was news.
func (m *Memory) didNot(mode Mode, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &m.failed[mode]
	if now.Before(f.until) {
		return false
	}
	f.retrying = false
	f.term = min(max(2*f.term, firstTerm), maxTerm)
	f.until = now.Add(f.term)
	return true
}
