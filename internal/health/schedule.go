package health

import "time"

// Schedule is how often a path is probed, by its state:
//
//	down         MinInterval; while another path is eligible, longer with every failure, up to MaxInterval
//	suspect      MinInterval: the last probe failed, and the next one may tell that it is down
//	unstable     Interval: unknown, cooling, or a failure lately
//	stable       from Interval on longer with every success, up to MaxInterval, and by RTTScale of the RTT
//	busy         MaxInterval: flows are answered, which says more than a probe
type Schedule struct {
	Interval    time.Duration
	MinInterval time.Duration
	MaxInterval time.Duration
	Jitter      time.Duration // the most that is added to an interval, at random
	Backoff     float64       // by which an interval grows; 1 and below = not at all
	RTTScale    float64
}

// Outlook is what else there is besides a path.
type Outlook uint8

// The outlooks.
const (
	LastHope Outlook = iota // no other path of the protocol is eligible
	Covered                 // another one is
	Offline                 // this host can reach nothing, or lacks what it needs to try
)

// unstablePenalty is what a penalty must have decayed to for a path to be stable again: that of one failure
// after a minute.
const unstablePenalty = flowPenalty / 4

// Next is how long to wait before the next probe, without jitter. previous is what it was before the last
// one, or 0 if the path was in another state then.
func (s Schedule) Next(st Status, previous time.Duration, o Outlook) time.Duration {
	if o == Offline {
		return s.Interval
	}
	switch s.pace(st) {
	case slow:
		return s.MaxInterval
	case suspect:
		return s.MinInterval
	case medium:
		return s.Interval
	case fast:
		if previous == 0 || o == LastHope {
			return s.MinInterval
		}
		return s.grow(previous)
	default:
		if previous == 0 {
			return s.Interval
		}
		stretch := s.RTTScale * float64(st.RTT)
		return min(s.grow(max(previous, s.Interval))+time.Duration(stretch), s.MaxInterval)
	}
}

func (s Schedule) grow(d time.Duration) time.Duration {
	return min(time.Duration(float64(d)*max(s.Backoff, 1)), s.MaxInterval)
}

// pace is a row of the table above.
type pace uint8

const (
	unpaced pace = iota // not probed yet
	fast
	suspect
	medium
	growing
	slow
)

func (s Schedule) pace(st Status) pace {
	switch {
	case st.State == Down:
		return fast
	case st.Failures > 0:
		return suspect
	case st.State == Unknown || st.Cooling || st.Penalty >= unstablePenalty || changes(st):
		return medium
	case !st.LastAnswer.IsZero() && st.At.Sub(st.LastAnswer) <= s.Interval:
		return slow
	}
	return growing
}

// changes reports whether the last measurement is so far from the others that it takes more to believe
// either.
func changes(st Status) bool {
	const noise = 50 * time.Millisecond
	return st.RTT > 0 && (st.LastRTT > 2*st.RTT+noise || st.LastRTT < st.RTT/2-noise)
}
