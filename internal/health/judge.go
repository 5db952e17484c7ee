package health

import (
	"sync"
	"time"
)

// verdict is what a failed probe means.
type verdict uint8

const (
	guilty  verdict = iota // it counts against the path
	excused                // it does not count: the target may be to blame
	cleared                // the target is to blame, and so it may have been before
)

// judge tells probes that fail for their path's sake from those that fail for their target's: when flows are
// answered on a path whose probes are not, it is the targets that are out of order, for all paths.
type judge struct {
	paths []Path
	grace time.Duration // how long before a probe an answer to a flow still speaks for the path

	mu   sync.Mutex
	seen []seen // by path
}

// seen is what the probes of one path met.
type seen struct {
	passed time.Time // when one passed last
	// When the first and the last of a row of probes began that opened the path and got no answer; zero when
	// there is no such row.
	first, last time.Time
}

func newJudge(paths []Path, grace time.Duration) *judge {
	return &judge{paths: paths, grace: grace, seen: make([]seen, len(paths))}
}

// pass takes note of a probe that passed.
func (j *judge) pass(i int, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seen[i] = seen{passed: now}
}

// fail judges a probe of path i that began at a time and failed at a stage.
func (j *judge) fail(i int, began, now time.Time, at Stage) verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	mine := &j.seen[i]
	if at != Quality {
		mine.first, mine.last = time.Time{}, time.Time{}
		return guilty
	}
	if mine.first.IsZero() {
		mine.first = began
	}
	mine.last = began
	if j.alive(i, began, now) {
		return excused
	}
	return j.byOthers(i, now)
}

// byOthers asks whether another path of the protocol gives the targets away: flows are answered on it, and
// its probes fail. One such failure, newer than any success, is a doubt; a row of them, during which no path
// had a success, is a proof. j.mu is held.
func (j *judge) byOthers(i int, now time.Time) verdict {
	var passed time.Time
	for k := range j.paths {
		if j.paths[k].Proto == j.paths[i].Proto && j.seen[k].passed.After(passed) {
			passed = j.seen[k].passed
		}
	}
	found := guilty
	for k, other := range j.seen {
		if k == i || j.paths[k].Proto != j.paths[i].Proto ||
			!other.last.After(passed) || !j.alive(k, other.last, now) {
			continue
		}
		found = max(found, excused)
		if other.first.After(passed) && other.last.After(other.first) {
			found = cleared
		}
	}
	return found
}

// witness returns a path whose probe would tell whether path i or its target is to blame for a failure that
// began at a time: flows are answered on it, and it was not probed since.
func (j *judge) witness(i int, began, now time.Time) (int, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for k, other := range j.seen {
		if k != i && j.paths[k].Proto == j.paths[i].Proto &&
			other.passed.Before(began) && other.last.Before(began) && j.alive(k, began, now) {
			return k, true
		}
	}
	return 0, false
}

// alive reports whether a flow was answered on path k since a probe began, or shortly before.
func (j *judge) alive(k int, began, now time.Time) bool {
	answer := j.paths[k].Record.Status(now).LastAnswer
	return !answer.IsZero() && answer.After(began.Add(-j.grace))
}
