package health

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrStalled says that flows to several targets sent something and nothing at all came back.
var ErrStalled = errors.New("no answer from any target")

const (
	// stallWindow is how far apart stalls may be to be one trouble.
	stallWindow = time.Minute
	// maxStallShift bounds the cooling of a path that stalls again and again: 8 times Cooldown.
	maxStallShift = 3
	// renewTime is how long after a change of the network flows still fail on the connections of before.
	renewTime = 3 * time.Second
)

// Policy is what makes a path up, down or cooling.
type Policy struct {
	FailThreshold    int           // failed probes in a row that make it down
	SuccessThreshold int           // passed probes in a row that make it up
	Cooldown         time.Duration // how long it is left out after a flow failed
	MaxInterval      time.Duration // between probes; an RTT is fresh for twice as long
}

// Record is the memory of one path. Its methods may be called concurrently. None reads the clock.
type Record struct {
	policy Policy

	mu         sync.Mutex
	state      State
	failures   int // of probes, in a row
	successes  int
	rtt        time.Duration // smoothed; 0 = never measured
	samples    samples       // that it was made of last
	sampleAt   time.Time
	penalty    time.Duration // as of penaltyAt
	penaltyAt  time.Time
	coolUntil  time.Time
	coolCause  cause
	stall      string // a target that stalled; "" = none since the last answer
	stallAt    time.Time
	stallRow   int    // how often stalls cooled it since the last answer
	refusal    string // a target that refused; "" = none since the last answer
	refusalAt  time.Time
	lastErr    error
	lastErrAt  time.Time
	lastAnswer time.Time
	renewed    time.Time // when Renew was called last
}

// cause is why a path cools, which decides what ends it early.
type cause uint8

const (
	flowFailed cause = iota // nothing does
	stalled                 // an answer to a flow; a passed probe proves nothing where flows get no answer
	noNetwork               // an answer to a flow or a passed probe
)

// NewRecord returns the record of a path that nothing is known of.
func NewRecord(p Policy) *Record {
	p.FailThreshold = max(p.FailThreshold, 1)
	p.SuccessThreshold = max(p.SuccessThreshold, 1)
	return &Record{policy: p}
}

// Success says that a probe passed. rtt is that of its request and answer alone.
func (r *Record) Success(now time.Time, rtt time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rtt = max(rtt, 1)
	if r.rtt == 0 || now.Sub(r.sampleAt) > r.fresh() {
		r.samples = samples{}
	}
	r.samples.add(rtt)
	if median := r.samples.median(); r.samples.few() {
		r.rtt = median
	} else {
		r.rtt = smooth(r.rtt, median)
	}
	r.sampleAt = now
	r.failures = 0
	r.successes++
	if r.successes >= r.policy.SuccessThreshold {
		r.state = Up
	}
	r.endCooling(now, noNetwork)
}

// Failure says that a probe failed. What is this host's own fault does not count.
func (r *Record) Failure(now time.Time, err error) {
	if IsLocal(err) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.successes = 0
	r.failures++
	base := flowPenalty
	if r.failures < r.policy.FailThreshold {
		base = probePenalty
	}
	r.blame(now, err, base)
	if r.failures >= r.policy.FailThreshold {
		r.state = Down
	}
}

// FlowFailed says that a flow could not be opened, or broke before its first answer. The path cools. What is
// this host's own fault does not count.
func (r *Record) FlowFailed(now time.Time, err error) {
	if IsLocal(err) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.renewed) < renewTime {
		return
	}
	r.blame(now, err, flowPenalty)
	why := flowFailed
	if IsNoNetwork(err) {
		why = noNetwork
	}
	r.cool(now.Add(r.policy.Cooldown), why)
}

// Renew says that the network of this host has changed: what flows and probes met before does not speak
// against the path, nor does what flows meet in the next moments, on connections of before. Whether the path
// is up stays what probes have found.
func (r *Record) Renew(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renewed = now
	r.failures, r.penalty = 0, 0
	r.stall, r.stallRow = "", 0
	if r.coolUntil.After(now) {
		r.coolUntil = now
	}
}

// Excuse says that no failed probe counts: a probe reached the upstream and its target is to blame, or there
// are no probes any more. A path that such failures put down is unknown again.
func (r *Record) Excuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == Down {
		r.state = Unknown
	}
	r.failures = 0
}

// Answered says that a flow got its first answer, or that a datagram came: the path lives, whatever probes
// say.
func (r *Record) Answered(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastAnswer = now
	r.stall, r.stallRow, r.refusal = "", 0, ""
	r.failures = 0
	r.state = Up
	r.endCooling(now, stalled)
	r.endCooling(now, noNetwork)
}

// Stalled says that a flow sent something to a target and that nothing came back within the limit of
// silence. One target may be to blame itself; when a second one stalls too and nothing was answered since
// the first did, the path cools. It cools for longer each time until something is answered.
func (r *Record) Stalled(now time.Time, target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stall == "" || now.Sub(r.stallAt) > stallWindow {
		r.stall, r.stallAt = target, now
		return
	}
	if r.stall == target {
		return
	}
	r.blame(now, fmt.Errorf("%w: %s, %s", ErrStalled, r.stall, target), flowPenalty)
	r.cool(now.Add(r.policy.Cooldown<<r.stallRow), stalled)
	r.stall = ""
	r.stallRow = min(r.stallRow+1, maxStallShift)
}

// Refused says that a target ended a flow without an answer. It reports whether that is a reason to probe the
// path: another target did so too, nothing was answered since, and so the server may reach none of them.
func (r *Record) Refused(now time.Time, target string) (doubtful bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal == "" || now.Sub(r.refusalAt) > stallWindow {
		r.refusal, r.refusalAt = target, now
		return false
	}
	return r.refusal != target
}

// Status returns what is known, as of now.
func (r *Record) Status(now time.Time) Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{
		At:          now,
		State:       r.state,
		CoolUntil:   r.coolUntil,
		LastError:   r.lastErr,
		LastErrorAt: r.lastErrAt,
		LastSample:  r.sampleAt,
		LastRTT:     r.samples.last(),
		LastAnswer:  r.lastAnswer,
		Failures:    r.failures,
		Successes:   r.successes,
	}
	if !r.coolUntil.IsZero() {
		s.Cooling = r.coolUntil.After(now)
	}
	if r.penalty > 0 {
		s.Penalty = decay(r.penalty, now.Sub(r.penaltyAt))
	}
	if r.rtt > 0 {
		s.RTT, s.Stale = ageing(r.rtt, now.Sub(r.sampleAt), r.fresh())
	}
	return s
}

// fresh is the age up to which an RTT is as good as new.
func (r *Record) fresh() time.Duration { return 2 * r.policy.MaxInterval }

// blame remembers an error and punishes for it by base, or more the more there was before. r.mu is held.
func (r *Record) blame(now time.Time, err error, base time.Duration) {
	r.lastErr, r.lastErrAt = err, now
	if IsNoNetwork(err) {
		return
	}
	age := now.Sub(r.penaltyAt)
	if r.penalty > 0 && age < oneEvent {
		return
	}
	r.penalty, r.penaltyAt = punish(decay(r.penalty, age), base), now
}

// cool leaves the path out, never for less than it was before. r.mu is held.
func (r *Record) cool(until time.Time, why cause) {
	if until.After(r.coolUntil) {
		r.coolUntil, r.coolCause = until, why
	}
}

// endCooling ends it if that was its cause. r.mu is held.
func (r *Record) endCooling(now time.Time, why cause) {
	if r.coolCause == why && r.coolUntil.After(now) {
		r.coolUntil = now
	}
}
