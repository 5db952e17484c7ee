package main

import (
	"maps"
	"slices"
	"time"
)

// results is all that a run has seen, at its end.
type results struct {
	took       time.Duration
	spans      []span
	flows      []flow
	lags       []lag
	queries    []query
	duplicates int            // POSTs that arrived more than once
	switches   map[string]int // of the current upstream, by protocol
	cpu        time.Duration  // of the client
	end        error          // of the client; nil: it stopped as it should
	udpEnd     error          // of the association, if the client ended it
}

// counts are flows by their fate.
type counts struct{ flows, succeeded, before, after, truncated, posts int }

// add counts a flow. A POST whose upstream failed under it is counted apart from flows that could be saved.
func (c *counts) add(f flow) {
	c.flows++
	switch {
	case f.fate == truncated:
		c.truncated++
	case f.fate == whole:
		c.succeeded++
	case !f.replayable():
		c.posts++
	case f.answered:
		c.after++
	default:
		c.before++
	}
}

func count(flows []flow) counts {
	var c counts
	for _, f := range flows {
		c.add(f)
	}
	return c
}

// in returns the flows of phases of which ok says so, by number.
func (r *results) in(ok func(i int) bool) []flow {
	var some []flow
	for _, f := range r.flows {
		if ok(phaseOf(r.spans, f.began, f.decided())) {
			some = append(some, f)
		}
	}
	return some
}

func always(int) bool                { return true }
func (r *results) calm(i int) bool   { return r.spans[i].fault == calm }
func (r *results) broken(i int) bool { return !r.calm(i) }

// usual is the median delay of each kind in calm phases.
func (r *results) usual() map[kind]time.Duration {
	delays := make(map[kind][]time.Duration)
	for _, f := range r.in(r.calm) {
		if f.answered {
			delays[f.kind] = append(delays[f.kind], f.delay)
		}
	}
	medians := make(map[kind]time.Duration)
	for k := range maps.Keys(delays) {
		medians[k] = spread(delays[k]).p50
	}
	return medians
}

// extra are the delays of flows that were answered, beyond the usual ones.
func extra(flows []flow, usual map[kind]time.Duration) []time.Duration {
	var delays []time.Duration
	for _, f := range flows {
		if f.answered {
			delays = append(delays, max(f.delay-usual[f.kind], 0))
		}
	}
	return delays
}

// quantiles of durations.
type quantiles struct{ p50, p95, p99, most time.Duration }

// spread sorts what it is given.
func spread(d []time.Duration) quantiles {
	if len(d) == 0 {
		return quantiles{}
	}
	slices.Sort(d)
	at := func(percent int) time.Duration { return d[min((len(d)*percent+99)/100, len(d))-1] }
	return quantiles{at(50), at(95), at(99), d[len(d)-1]}
}

// only returns the flows of which ok says so.
func only(flows []flow, ok func(flow) bool) []flow {
	return slices.DeleteFunc(slices.Clone(flows), func(f flow) bool { return !ok(f) })
}

// outage is a time without answers to an association's queries.
type outage struct {
	from  time.Duration // when the first lost query was sent
	until time.Duration // when the next answer came
	lost  int
}

func (o outage) duration() time.Duration { return o.until - o.from }

// outages are all of a run that lasted until end.
func outages(queries []query, end time.Duration) []outage {
	var all []outage
	open := false
	for _, q := range queries {
		switch {
		case q.lost() && open:
			all[len(all)-1].lost++
		case q.lost():
			all = append(all, outage{q.sent, end, 1})
			open = true
		case open:
			all[len(all)-1].until = q.sent + q.took
			open = false
		}
	}
	return all
}

func (r *results) longestOutage() (longest time.Duration) {
	for _, o := range outages(r.queries, r.took) {
		longest = max(longest, o.duration())
	}
	return longest
}

// udpIn are the outages of a phase, which began with it or later: the longest one, and how many queries were
// lost in all.
func (r *results) udpIn(i int) (longest time.Duration, lost int) {
	for _, o := range outages(r.queries, r.took) {
		if spanAt(r.spans, o.from+queryEvery) == i { // the query before a fault is lost to it too
			longest, lost = max(longest, o.duration()), lost+o.lost
		}
	}
	return longest, lost
}

// lostLate is how many queries were lost although the last change of anything was long before.
func (r *results) lostLate() int {
	n := 0
	for _, q := range r.queries {
		change := r.spans[spanAt(r.spans, q.sent+queryEvery)].from // as in udpIn
		if q.lost() && q.sent-change > udpLimit {
			n++
		}
	}
	return n
}

// lagIn is how late goroutines ran in phases of which ok says so.
func (r *results) lagIn(ok func(i int) bool) quantiles {
	var late []time.Duration
	for _, l := range r.lags {
		if ok(spanAt(r.spans, l.at)) {
			late = append(late, l.late)
		}
	}
	return spread(late)
}
