package health

import "time"

// stateLife is how long a state is believed after the program was restarted: the network may be another.
const stateLife = time.Minute

// Snapshot is what outlives a Record, as JSON. It has no secrets.
type Snapshot struct {
	State     State         `json:"state,omitempty"`
	StateAt   time.Time     `json:"state_at,omitzero"` // of the last evidence for it
	RTT       time.Duration `json:"rtt,omitempty"`     // nanoseconds
	RTTAt     time.Time     `json:"rtt_at,omitzero"`
	Penalty   time.Duration `json:"penalty,omitempty"` // nanoseconds, as of PenaltyAt
	PenaltyAt time.Time     `json:"penalty_at,omitzero"`
}

// Snapshot returns what is worth keeping.
func (r *Record) Snapshot() Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.sampleAt
	for _, t := range [...]time.Time{r.lastErrAt, r.lastAnswer} {
		if t.After(at) {
			at = t
		}
	}
	return Snapshot{
		State: r.state, StateAt: at,
		RTT: r.rtt, RTTAt: r.sampleAt,
		Penalty: r.penalty, PenaltyAt: r.penaltyAt,
	}
}

// Restore takes over what a snapshot still says: what is older than its life, or from a future that a clock
// was in, is unknown. It is for a record that is new.
func (r *Record) Restore(s Snapshot, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := recent(s.StateAt, now, stateLife); ok && s.State <= Down {
		r.state = s.State
		if s.State == Down {
			r.failures = r.policy.FailThreshold
		}
	}
	if at, ok := recent(s.RTTAt, now, sampleLife); ok && s.RTT > 0 {
		r.rtt, r.sampleAt = s.RTT, at
		r.samples.add(s.RTT)
	}
	if at, ok := recent(s.PenaltyAt, now, sampleLife); ok && s.Penalty > 0 {
		r.penalty, r.penaltyAt = min(s.Penalty, penaltyMax), at
	}
}

// recent returns t on the clock of now, which later steps of the wall clock do not move.
func recent(t, now time.Time, life time.Duration) (time.Time, bool) {
	age := now.Sub(t)
	return now.Add(-age), age >= 0 && age <= life
}
