package carrier

import "time"

// Snapshot is what outlives a Memory, as JSON: the modes that do not work, by name.
type Snapshot map[string]FailedMode

// FailedMode is a mode that does not work.
type FailedMode struct {
	Until time.Time     `json:"until"`
	Term  time.Duration `json:"term"` // nanoseconds
}

// Snapshot returns what is worth keeping.
func (m *Memory) Snapshot(now time.Time) Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := make(Snapshot)
	for mode := H1; mode <= H3; mode++ {
		if f := m.failed[mode]; f.term > 0 && f.until.After(now) {
			s[mode.String()] = FailedMode{f.until, f.term}
		}
	}
	return s
}

// Restore takes over what a snapshot still says. It is for a memory that is new. No term goes on for longer
// than it could have lasted, whatever clock wrote it.
func (m *Memory) Restore(s Snapshot, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for mode := H1; mode <= H3; mode++ {
		f, ok := s[mode.String()]
		left := f.Until.Sub(now)
		if !ok || left <= 0 || f.Term <= 0 {
			continue
		}
		term := min(f.Term, maxTerm)
		m.failed[mode] = failure{until: now.Add(min(left, term)), term: term}
	}
}
