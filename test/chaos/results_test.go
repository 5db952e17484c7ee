package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// someSpans are a calm start, a fault, and the calm after it.
var someSpans = []span{
	{"calm", calm, 0},
	{"kill a (tcp)", kill, 10 * time.Second},
	{"a is back", calm, 16 * time.Second},
}

func TestSpanAt(t *testing.T) {
	for at, want := range map[time.Duration]int{
		0: 0, 9 * time.Second: 0, 10 * time.Second: 1, 11 * time.Second: 1, 16 * time.Second: 2, time.Hour: 2,
	} {
		if got := spanAt(someSpans, at); got != want {
			t.Errorf("spanAt(%v) = %d, want %d", at, got, want)
		}
	}
}

func TestPhaseOf(t *testing.T) {
	tests := map[string]struct {
		from, until time.Duration
		want        int
	}{
		"calm":               {time.Second, 2 * time.Second, 0},
		"into a fault":       {9 * time.Second, 11 * time.Second, 1},
		"out of a fault":     {15 * time.Second, 17 * time.Second, 1},
		"all over the fault": {9 * time.Second, 17 * time.Second, 1},
		"after it":           {16 * time.Second, 17 * time.Second, 2},
	}
	for name, tt := range tests {
		if got := phaseOf(someSpans, tt.from, tt.until); got != tt.want {
			t.Errorf("%s: phase %d, want %d", name, got, tt.want)
		}
	}
}

func TestCounts(t *testing.T) {
	got := count([]flow{
		{kind: getFlow, answered: true},
		{kind: getFlow, fate: failed},
		{kind: tlsFlow, fate: failed, answered: true},
		{kind: postFlow, fate: failed},
		{kind: postFlow, fate: truncated},
	})
	if want := (counts{flows: 5, succeeded: 1, before: 1, after: 1, truncated: 1, posts: 1}); got != want {
		t.Errorf("counts = %+v, want %+v", got, want)
	}
}

func TestSpread(t *testing.T) {
	if got := spread(nil); got != (quantiles{}) {
		t.Errorf("of nothing: %+v", got)
	}
	if got := spread([]time.Duration{7}); got != (quantiles{7, 7, 7, 7}) {
		t.Errorf("of one: %+v", got)
	}
	var all []time.Duration
	for i := range 1000 {
		all = append(all, time.Duration(1000-i))
	}
	if got := spread(all); got != (quantiles{500, 950, 990, 1000}) {
		t.Errorf("of 1 to 1000: %+v", got)
	}
}

// What delays mean is measured against calm times, by kind.
func TestExtra(t *testing.T) {
	r := &results{spans: someSpans, flows: []flow{
		{kind: getFlow, began: 1, answered: true, delay: 10 * ms},
		{kind: getFlow, began: 2, answered: true, delay: 12 * ms},
		{kind: getFlow, began: 3, answered: true, delay: 500 * ms},
		{kind: tlsFlow, began: 4, answered: true, delay: 30 * ms},
		{kind: tlsFlow, began: 5, fate: failed},
		{kind: getFlow, began: 11 * time.Second, answered: true, delay: 1012 * ms},
		{kind: tlsFlow, began: 11 * time.Second, answered: true, delay: 20 * ms},
		{kind: tlsFlow, began: 11 * time.Second, fate: failed},
	}}
	usual := r.usual()
	if usual[getFlow] != 12*ms || usual[tlsFlow] != 30*ms {
		t.Errorf("usual = %v", usual)
	}
	if got, want := extra(r.in(r.broken), usual), []time.Duration{time.Second, 0}; !slices.Equal(got, want) {
		t.Errorf("extra = %v, want %v", got, want)
	}
}

func TestOutages(t *testing.T) {
	queries := []query{
		{sent: 0, took: ms},
		{sent: 1000 * ms},
		{sent: 1250 * ms, took: queryTime + 1}, // too late
		{sent: 1500 * ms, took: 100 * ms},
		{sent: 1750 * ms, took: ms},
		{sent: 2000 * ms},
	}
	want := []outage{{1000 * ms, 1600 * ms, 2}, {2000 * ms, 5000 * ms, 1}}
	if got := outages(queries, 5*time.Second); !slices.Equal(got, want) {
		t.Errorf("outages = %v, want %v", got, want)
	}
}

// A query that was lost right before a fault was lost to it.
func TestUDPIn(t *testing.T) {
	r := &results{spans: someSpans, took: 20 * time.Second, queries: []query{
		{sent: 9900 * ms},
		{sent: 10150 * ms},
		{sent: 10400 * ms, took: 10 * ms},
		{sent: 15500 * ms},
		{sent: 15750 * ms, took: ms},
	}}
	if longest, lost := r.udpIn(0); longest != 0 || lost != 0 {
		t.Errorf("before: %v, %d lost", longest, lost)
	}
	if longest, lost := r.udpIn(1); longest != 510*ms || lost != 3 {
		t.Errorf("during: %v, %d lost", longest, lost)
	}
	if got := r.lostLate(); got != 1 {
		t.Errorf("%d lost long after a change, want 1", got)
	}
}

// goodRun is one with nothing to complain about.
func goodRun() *results {
	r := &results{spans: someSpans, took: 20 * time.Second, queries: []query{{sent: 1, took: ms}}}
	for _, k := range kinds {
		for _, at := range []time.Duration{time.Second, 11 * time.Second, 17 * time.Second} {
			r.flows = append(r.flows, flow{kind: k, began: at, answered: true, delay: 10 * ms})
		}
	}
	r.lags = []lag{{time.Second, ms}}
	return r
}

func TestVerdict(t *testing.T) {
	tests := map[string]struct {
		spoil func(r *results)
		says  string
		good  bool
	}{
		"all is well":          {func(*results) {}, "ok   TLS, GET, download: 0 of 9 failed", true},
		"lost":                 {withFlow(lostGet), "FAIL TLS, GET, download: 1 of 10 failed", false},
		"why":                  {withFlow(lostGet), "11.000s (kill a (tcp)): GET: no luck", false},
		"broken in the middle": {withFlow(brokenDownload), "ok   TLS, GET, download: 0 of 10", true},
		"cut short":            {withFlow(cutDownload), "FAIL answers cut short", false},
		"a POST that was reset": {
			withFlow(lostPost), "ok   POSTs that arrived twice: 0 of 4; 0 may (1 were reset", true,
		},
		"a POST that arrived twice": {
			func(r *results) { r.duplicates = 1 }, "FAIL POSTs that arrived twice: 1", false,
		},
		"slow": {withFlow(slowGet), "FAIL their extra delay while a server is broken: p99 1.990s", false},
		"slow on a busy machine": {
			func(r *results) { withFlow(slowGet)(r); r.lags[0].late = time.Second },
			"?    their extra delay", true,
		},
		"lost on a busy machine": {
			func(r *results) { withFlow(lostGet)(r); r.lags[0].late = time.Second },
			"too busy for delays to mean anything", false,
		},
		"UDP": {
			func(r *results) { r.queries = []query{{sent: 1}, {sent: 1 + udpLimit, took: ms}} },
			"FAIL UDP without answers: 5.001s", false,
		},
		"the association ends": {
			func(r *results) { r.udpEnd = errors.New("gone") }, "the application wants: gone", false,
		},
		"the client crashes": {
			func(r *results) { r.end = errors.New("exit status 2") }, "is asked to: exit status 2", false,
		},
		"no flows": {func(r *results) { r.flows = nil }, "FAIL TLS, GET, download", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := goodRun()
			tt.spoil(r)
			var out strings.Builder
			r.print(&out)
			if r.good() != tt.good || !strings.Contains(out.String(), tt.says) {
				t.Errorf("good = %v, want %v, and %q in:\n%s", r.good(), tt.good, tt.says, &out)
			}
		})
	}
}

// Flows in the fault of someSpans that did not go well.
var (
	lostGet        = flow{kind: getFlow, began: 11 * time.Second, fate: failed, err: errors.New("no luck")}
	lostPost       = flow{kind: postFlow, began: 11 * time.Second, fate: failed}
	slowGet        = flow{kind: getFlow, began: 11 * time.Second, answered: true, delay: 2 * time.Second}
	brokenDownload = flow{kind: downloadFlow, began: 11 * time.Second, answered: true, fate: failed}
	cutDownload    = flow{kind: downloadFlow, began: 11 * time.Second, answered: true, fate: truncated}
)

func withFlow(f flow) func(*results) {
	return func(r *results) { r.flows = append(r.flows, f) }
}

func TestErrorsAreBounded(t *testing.T) {
	r := goodRun()
	for range 100 {
		r.flows = append(r.flows, flow{kind: getFlow, fate: failed, err: errors.New("no luck")})
	}
	var out strings.Builder
	r.printErrors(&out)
	if got := strings.Count(out.String(), "no luck"); got != shownErrors ||
		!strings.Contains(out.String(), "and 88 more") {
		t.Errorf("%d shown:\n%s", got, &out)
	}
}

func TestBook(t *testing.T) {
	b := &book{began: time.Now().Add(-time.Minute)}
	b.enter("kill a (tcp)", kill)
	b.add(flow{kind: getFlow, began: time.Minute, answered: true})
	b.add(flow{kind: getFlow, began: 2 * time.Minute, fate: failed})
	b.add(flow{kind: postFlow, began: 2 * time.Minute, fate: failed})
	want := "kill a (tcp)               3 flows, 1 lost, 0 broken later, 1 POSTs reset"
	if got := b.progress(); !strings.HasSuffix(got, want) {
		t.Errorf("progress = %q, want ...%q", got, want)
	}
}
