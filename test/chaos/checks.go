package main

import (
	"fmt"
	"time"
)

// What is asked for.
const (
	delayLimit = 1500 * time.Millisecond
	udpLimit   = 5 * time.Second
	// lagLimit is how late one goroutine in a hundred may run on a machine whose delays mean anything.
	lagLimit = 50 * time.Millisecond
)

// check is a figure that is asked for.
type check struct {
	good bool
	what string
	time bool // it means nothing on a busy machine
}

// figure is a check of what became of flows.
func figure(good bool, format string, args ...any) check {
	return check{good: good, what: fmt.Sprintf(format, args...)}
}

// delay is a check of how long something took.
func delay(good bool, format string, args ...any) check {
	return check{good: good, what: fmt.Sprintf(format, args...), time: true}
}

// checks are all figures that are asked for.
func (r *results) checks() []check {
	saved := count(only(r.flows, flow.replayable))
	posts := count(only(r.flows, func(f flow) bool { return !f.replayable() }))
	cut := saved.truncated + posts.truncated
	late := spread(extra(only(r.in(r.broken), flow.replayable), r.usual())).p99
	out := r.longestOutage()
	return []check{
		figure(saved.flows > 0 && saved.before == 0,
			"TLS, GET, download: %d of %d failed before the first byte of an answer; 0 may",
			saved.before, saved.flows),
		delay(late < delayLimit,
			"their extra delay while a server is broken: p99 %s; below %s", seconds(late), delayLimit),
		figure(cut == 0,
			"answers cut short that ended like whole ones: %d; 0 may", cut),
		figure(posts.flows > 0 && r.duplicates == 0,
			"POSTs that arrived twice: %d of %d; 0 may (%d were reset, as their upstream failed)",
			r.duplicates, posts.flows, posts.posts),
		delay(len(r.queries) > 0 && out <= udpLimit,
			"UDP without answers: %s at most; up to %s", seconds(out), udpLimit),
		delay(r.lostLate() == 0,
			"queries lost later than %s after a change: %d; 0 may", udpLimit, r.lostLate()),
		figure(r.udpEnd == nil,
			"the association and its port live as long as the application wants: %s", orYes(r.udpEnd)),
		figure(r.end == nil,
			"the client stops when it is asked to: %s", orYes(r.end)),
	}
}

func orYes(err error) string {
	if err != nil {
		return err.Error()
	}
	return "yes"
}

// busy reports whether the machine was too busy for delays to mean anything.
func (r *results) busy() bool { return r.lagIn(always).p99 > lagLimit }

// good reports whether no figure falls short of those that mean anything.
func (r *results) good() bool {
	busy := r.busy()
	for _, c := range r.checks() {
		judged := !c.time || !busy
		if judged && !c.good {
			return false
		}
	}
	return true
}
