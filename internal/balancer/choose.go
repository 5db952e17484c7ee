package balancer

import (
	"cmp"
	"slices"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

const (
	// settleTime is for how long a rival must be better without a break before it takes over. One fast answer
	// is no fast path.
	settleTime = 15 * time.Second
	// A rival that is better by farShare of the current score, and by farTimes of what is worth a switch,
	// ends the sticky time early.
	farShare = 0.5
	farTimes = 2
	// restless is how long a switch is remembered: each one doubles the sticky time for the next, up to
	// maxRestless times, so that paths that are good in turns do not flap.
	restless    = 10 * time.Minute
	maxRestless = 3
)

// Reason is why another path became the current one.
type Reason string

// The reasons.
const (
	ReasonFirst   Reason = "first"   // there was none
	ReasonDown    Reason = "down"    // probes of the one before fail
	ReasonCooling Reason = "cooling" // a flow failed on it
	ReasonBetter  Reason = "better"  // the score has been better for some time
	// Somebody chose the one after, or took out the one before.
	ReasonSelected Reason = "selected"
	ReasonDrained  Reason = "drained"
)

// reasons are all of them.
var reasons = [...]Reason{
	ReasonFirst, ReasonDown, ReasonCooling, ReasonBetter, ReasonSelected, ReasonDrained,
}

// rank orders what may be used before what may not. The last hope is a path that is known to be down.
type rank uint8

// usable reports whether a path of that rank is known to work.
func (r rank) usable() bool { return r <= recovered }

const (
	eligible  rank = iota
	recovered      // cooling, but a probe has passed since: better than nothing
	cooling
	down
)

// view is what the choice knows of a path.
type view struct {
	wish  Wish
	rank  rank
	score time.Duration
}

func viewOf(s health.Status, weight float64, wish Wish) view {
	v := view{wish: wish, score: s.Score(weight)}
	switch {
	case s.State == health.Down:
		v.rank = down
	case s.Cooling && s.LastSample.After(s.LastErrorAt):
		v.rank = recovered
	case s.Cooling:
		v.rank = cooling
	}
	return v
}

// compare is negative if v is to be tried before w: what is drained comes last, whatever else there is, and
// what is preferred comes first while it is eligible.
func (v view) compare(w view) int {
	return cmp.Or(
		before(w.drained(), v.drained()), before(v.preferred(), w.preferred()),
		cmp.Compare(v.rank, w.rank), cmp.Compare(v.score, w.score),
	)
}

// before is negative if v alone is true, and positive if w alone is.
func before(v, w bool) int {
	switch {
	case v == w:
		return 0
	case v:
		return -1
	}
	return 1
}

func (v view) drained() bool { return v.wish == Drained }

// preferred reports whether the wish for v counts.
func (v view) preferred() bool { return v.wish == Preferred && v.rank == eligible }

// usable reports whether flows may be given to the path.
func (v view) usable() bool { return v.rank.usable() && !v.drained() }

func (v view) better(w view) bool { return v.compare(w) < 0 }

// policy is what the user says about switches.
type policy struct {
	sticky    time.Duration // stay with the current path for so long, unless a rival is far better
	minSwitch time.Duration // by which a rival's score must be better
}

// choice is the current path and what it takes to replace it.
type choice struct {
	current    int       // -1: none yet
	since      time.Time // when it became that
	challenged time.Time // since when another path has been better by enough; zero: none is
	switches   int       // lately
}

// next returns the choice after a look at all paths, of which there is at least one. reason is empty when the
// current path stays.
func (c choice) next(now time.Time, views []view, p policy) (after choice, reason Reason) {
	best := 0
	for i, v := range views {
		if v.better(views[best]) {
			best = i
		}
	}
	switch {
	case c.current < 0:
		return choice{current: best, since: now}, ReasonFirst
	case views[c.current].drained() && !views[best].drained():
		return c.to(best, now), ReasonDrained
	case views[best].preferred() && !views[c.current].preferred():
		return c.to(best, now), ReasonSelected
	case views[c.current].rank > views[best].rank:
		reason = ReasonDown
		if views[c.current].rank < down {
			reason = ReasonCooling
		}
		return c.to(best, now), reason
	}
	return c.challenge(best, now, views, p)
}

// challenge takes the best path for the next one if it has been better by enough for long enough.
func (c choice) challenge(best int, now time.Time, views []view, p policy) (after choice, reason Reason) {
	score := views[c.current].score
	gain := score - views[best].score
	if best == c.current || gain < max(p.minSwitch, 1) {
		c.challenged = time.Time{}
		return c, ""
	}
	if c.challenged.IsZero() {
		c.challenged = now
	}
	sticky := p.sticky << c.switches
	far := gain >= time.Duration(farShare*float64(score)) && gain >= farTimes*p.minSwitch
	if far && c.switches == 0 {
		sticky = 0
	}
	if now.Sub(c.challenged) < settleTime || now.Sub(c.since) < sticky {
		return c, ""
	}
	return c.to(best, now), ReasonBetter
}

// to switches.
func (c choice) to(path int, now time.Time) choice {
	switches := 0
	if now.Sub(c.since) < restless {
		switches = min(c.switches+1, maxRestless)
	}
	return choice{current: path, since: now, switches: switches}
}

// share says how many of n ready connections each path keeps: one on each of the best usable paths, and what
// is left over on the best of all. Where none is usable, flows go over the best that cools, and it keeps all.
// Paths that are down keep none.
func share(n int, views []view) []int {
	keep := make([]int, len(views))
	var best []int // the usable ones
	for i, v := range views {
		if v.rank < down && !v.drained() {
			best = append(best, i)
		}
	}
	slices.SortStableFunc(best, func(a, b int) int { return views[a].compare(views[b]) })
	for i, place := range best {
		if i > 0 && !views[place].rank.usable() {
			best = best[:i]
			break
		}
	}
	for i := range n {
		if len(best) == 0 {
			break
		}
		if i < len(best) {
			keep[best[i]] = 1
		} else {
			keep[best[0]]++
		}
	}
	return keep
}
