package health

import (
	"math"
	"time"
)

// UnknownRTT is what a round-trip time counts for that nobody has measured lately: worse than nearly every
// measured one, so that it is tried when there is nothing better.
const UnknownRTT = 500 * time.Millisecond

// State is what probes and answers say of a path.
type State uint8

// The states of a path.
const (
	Unknown State = iota
	Up
	Down
)

// String returns the state as logs and status pages show it.
func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	default:
		return "unknown"
	}
}

// Status is a Record at one moment.
type Status struct {
	At    time.Time // the moment
	State State

	Cooling   bool      // left out since a flow failed on it
	CoolUntil time.Time // also after it has passed

	RTT     time.Duration // smoothed; 0 = unknown
	Penalty time.Duration // for failures, as far as it has not decayed
	Stale   time.Duration // for an RTT that has not been measured lately

	LastError   error // that counted
	LastErrorAt time.Time
	LastSample  time.Time // of the RTT
	LastRTT     time.Duration
	LastAnswer  time.Time // to a flow

	Failures, Successes int // of probes, in a row
}

// Eligible reports whether flows may be given to the path without a second thought.
func (s Status) Eligible() bool { return s.State != Down && !s.Cooling }

// Score is what paths are compared by; the lower is the better one. A weight of 2 halves it. Weights are
// above 0.
func (s Status) Score(weight float64) time.Duration {
	rtt := s.RTT
	if rtt == 0 {
		rtt = UnknownRTT
	}
	sum := rtt + s.Penalty + s.Stale
	if weight == 1 {
		return sum
	}
	if score := float64(sum) / weight; score < math.MaxInt64 {
		return time.Duration(score)
	}
	return math.MaxInt64
}
