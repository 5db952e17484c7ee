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

// Memory remembers which modes of one server do not work, and how long those take that do. The zero value
// remembers nothing yet; its methods may be called concurrently.
type Memory struct {
	mu     sync.Mutex
	failed [H3 + 1]failure
	paces  [H3 + 1]pace
}

// failure is what is known of a mode that does not work, or is late:
//
//	works --late--> late --in the end--> failed --a success--> works
//	works --a failure while another mode worked--> failed
//	late --a success--> works
type failure struct {
	until    time.Time     // zero: it works, or was never tried
	term     time.Duration // the last one; zero: it is late and nothing more
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

// late notes that a mode is still trying while another one worked. That may be the fault of the connection
// that it had, so that its end decides: until then no flow waits for it.
func (m *Memory) late(mode Mode, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := &m.failed[mode]; f.until.IsZero() {
		f.until = now.Add(tryTime)
	}
}

// inTheEnd notes that a mode that was late failed, and reports whether that was news. It is nothing if the
// mode has worked since it was late.
func (m *Memory) inTheEnd(mode Mode, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.failed[mode].until.IsZero() && m.failedLocked(mode, now)
}

// worked forgets the failures of a mode, and reports whether there were any.
func (m *Memory) worked(mode Mode) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	failed := m.failed[mode].term > 0
	m.failed[mode] = failure{}
	return failed
}

// didNot notes a failure of a mode while another one worked, or of a try in the background, and reports
// whether that was news.
func (m *Memory) didNot(mode Mode, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failedLocked(mode, now)
}

// failedLocked starts a term, unless one is running. The caller holds mu.
func (m *Memory) failedLocked(mode Mode, now time.Time) bool {
	f := &m.failed[mode]
	if f.term > 0 && now.Before(f.until) {
		return false
	}
	f.retrying = false
	f.term = min(max(2*f.term, firstTerm), maxTerm)
	f.until = now.Add(f.term)
	return true
}

// Renew forgets all failures: on another network, other modes work.
func (m *Memory) Renew() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.failed[:])
}

// took notes how long a mode took that won a race.
func (m *Memory) took(mode Mode, d time.Duration, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paces[mode].add(d, now)
}

// headStart is how long a mode has for itself before the next one starts too.
func (m *Memory) headStart(mode Mode, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	least, most := headStarts(mode)
	return min(max(m.paces[mode].enough(now), least), most)
}
