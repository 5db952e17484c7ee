package health

import (
	"slices"
	"time"
)

const (
	// smoothing is the part of a new sample in the smoothed RTT: 1/4.
	smoothing = 4
	// flowPenalty is what a first failure costs; each further one doubles what is left and adds this.
	flowPenalty = 500 * time.Millisecond
	// probePenalty is the same for a probe that does not put its path down: a datagram or two were lost,
	// which is worth no switch unless it goes on like that.
	probePenalty = 10 * time.Millisecond
	// penaltyMax lets a path that is well again compete within minutes, however long it was not.
	penaltyMax = 4 * time.Second
	// penaltyHalfLife is how long it takes to forgive a half.
	penaltyHalfLife = 30 * time.Second
	// oneEvent is how close failures are that count as one: all flows of a path meet the same event.
	oneEvent = time.Second
	// sampleLife is the age at which an RTT is unknown again.
	sampleLife = 10 * time.Minute
)

// samples are the last measurements of a round trip. What is lost and sent again makes one or two of them far
// too long, and says nothing about the path: their median does not see those.
type samples struct {
	all  [5]time.Duration
	n    int // of them
	next int // where the next one goes
}

func (s *samples) add(d time.Duration) {
	s.all[s.next] = d
	s.next = (s.next + 1) % len(s.all)
	s.n = min(s.n+1, len(s.all))
}

// few reports whether there are too few for an average to be better than the median.
func (s *samples) few() bool { return s.n < len(s.all) }

// last is the newest one; 0 = there is none.
func (s *samples) last() time.Duration { return s.all[(s.next+len(s.all)-1)%len(s.all)] }

// median is the lower one where two are in the middle.
func (s *samples) median() time.Duration {
	sorted := s.all
	slices.Sort(sorted[:s.n])
	return sorted[(s.n-1)/2]
}

// smooth adds a sample to a moving average.
func smooth(average, sample time.Duration) time.Duration {
	return average + (sample-average)/smoothing
}

// punish returns the penalty after another failure.
func punish(penalty, base time.Duration) time.Duration {
	return min(2*penalty+base, penaltyMax)
}

// decay returns what is left of a penalty after a time: a half for each half-life, and a straight line in
// between, which is at most 6 % above the exponential and much cheaper.
func decay(penalty, age time.Duration) time.Duration {
	if penalty == 0 || age <= 0 {
		return penalty
	}
	halves := age / penaltyHalfLife
	if halves >= 32 {
		return 0
	}
	penalty >>= halves
	part := float64(age%penaltyHalfLife) / float64(2*penaltyHalfLife)
	return penalty - time.Duration(part*float64(penalty))
}

// ageing returns what an RTT of some age counts for, and the term that makes it worse: none while it is
// fresh, then as much as makes it unknown, step by step, at the end of its life. An RTT above UnknownRTT
// stays what it is until then.
func ageing(rtt, age, fresh time.Duration) (counts, stale time.Duration) {
	life := max(sampleLife, 2*fresh)
	switch {
	case age <= fresh:
		return rtt, 0
	case age >= life:
		return 0, 0
	case rtt >= UnknownRTT:
		return rtt, 0
	}
	return rtt, time.Duration(float64(UnknownRTT-rtt) * float64(age-fresh) / float64(life-fresh))
}
