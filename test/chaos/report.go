package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"
)

// print prints everything that there is to say.
func (r *results) print(out io.Writer) {
	usual := r.usual()
	t := newTable(out, "kind", "flows", "succeeded", "lost before a byte", "broken after", "cut clean",
		"twice", "calm p50", "extra p50", "p95", "p99", "max")
	for _, k := range kinds {
		r.printKind(t, k, usual)
	}
	t.flush()
	t = newTable(out, "from", "phase", "flows", "lost", "broken", "POSTs reset",
		"extra p50", "p95", "p99", "max", "UDP out", "lost", "lag p99")
	for i := range r.spans {
		r.printPhase(t, i, usual)
	}
	t.flush()
	lag := r.lagIn(always)
	fmt.Fprintf(out, "\nclient: %.0f %% of a core, %d switches of TCP, %d of UDP\n",
		100*r.cpu.Seconds()/max(r.took.Seconds(), 1), r.switches["tcp"], r.switches["udp"])
	fmt.Fprintf(out, "lag of this machine: p99 %s, max %s\n", seconds(lag.p99), seconds(lag.most))
	r.printErrors(out)
	r.printChecks(out)
}

func (r *results) printKind(t *table, k kind, usual map[kind]time.Duration) {
	flows := only(r.flows, func(f flow) bool { return f.kind == k })
	c, q := count(flows), spread(extra(flows, usual))
	before := len(only(flows, func(f flow) bool { return f.fate == failed && !f.answered }))
	after := len(only(flows, func(f flow) bool { return f.fate == failed && f.answered }))
	twice := "-"
	if k == postFlow {
		twice = strconv.Itoa(r.duplicates)
	}
	t.row(k, c.flows, c.succeeded, before, after, c.truncated, twice, seconds(usual[k]),
		seconds(q.p50), seconds(q.p95), seconds(q.p99), seconds(q.most))
}

func (r *results) printPhase(t *table, i int, usual map[kind]time.Duration) {
	this := func(k int) bool { return k == i }
	flows, s := r.in(this), r.spans[i]
	c, q := count(flows), spread(extra(only(flows, flow.replayable), usual))
	longest, lost := r.udpIn(i)
	t.row(fmt.Sprintf("%.1f", s.from.Seconds()), s.name, c.flows, c.before, c.after, c.posts,
		seconds(q.p50), seconds(q.p95), seconds(q.p99), seconds(q.most),
		seconds(longest), lost, seconds(r.lagIn(this).p99))
}

const shownErrors = 12

// printErrors prints the first few flows that should not have failed.
func (r *results) printErrors(out io.Writer) {
	n := 0
	for _, f := range r.flows {
		bad := f.fate == truncated || f.fate == failed && !f.answered && f.replayable()
		if !bad {
			continue
		}
		if n++; n <= shownErrors {
			fmt.Fprintf(out, "%.3fs (%s): %s: %v\n", f.began.Seconds(),
				r.spans[phaseOf(r.spans, f.began, f.decided())].name,
				f.kind, f.err)
		}
	}
	if n > shownErrors {
		fmt.Fprintf(out, "... and %d more\n", n-shownErrors)
	}
}

func (r *results) printChecks(out io.Writer) {
	busy := r.busy()
	fmt.Fprintln(out)
	for _, c := range r.checks() {
		verdict := "ok  "
		switch {
		case c.time && busy:
			verdict = "?   "
		case !c.good:
			verdict = "FAIL"
		}
		fmt.Fprintln(out, verdict, c.what)
	}
	if busy {
		fmt.Fprintf(out, "\nThis machine was too busy for delays to mean anything (lag p99 above %s):\n"+
			"what is marked with ? was not judged.\n", lagLimit)
	}
}

// seconds is a duration with milliseconds.
func seconds(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

// table has columns that line up.
type table struct{ out *tabwriter.Writer }

func newTable(out io.Writer, columns ...any) *table {
	fmt.Fprintln(out)
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)}
	t.row(columns...)
	return t
}

func (t *table) row(cells ...any) {
	for _, c := range cells {
		fmt.Fprintf(t.out, "%v\t", c)
	}
	fmt.Fprintln(t.out)
}

func (t *table) flush() { _ = t.out.Flush() }
