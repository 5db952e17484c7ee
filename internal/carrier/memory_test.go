package carrier

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// event is something that happens to a Memory of a target with all three modes.
type event struct {
	at     time.Duration
	works  Mode
	fails  Mode
	late   Mode // still trying while another one worked
	ends   Mode // that was late, in failure
	plans  bool
	expect plan
}

func TestMemoryPlans(t *testing.T) {
	all := []Mode{H3, H2, H1}
	without3 := plan{race: []Mode{H2, H1}, last: []Mode{H3}}
	look3 := plan{race: []Mode{H2, H1}, last: []Mode{H3}, look: []Mode{H3}}
	tests := map[string][]event{
		"nothing is known": {
			{plans: true, expect: plan{race: all}},
		},
		"what failed comes last": {
			{fails: H3},
			{at: firstTerm - 1, plans: true, expect: without3},
		},
		"and is looked at once after its term": {
			{fails: H3},
			{at: firstTerm, plans: true, expect: without3},
			{at: firstTerm + 1, plans: true, expect: look3},
			{at: firstTerm + 2, plans: true, expect: without3}, // the look is under way
		},
		"and comes back": {
			{fails: H3},
			{at: firstTerm + 1, plans: true, expect: look3},
			{at: firstTerm + 2, works: H3},
			{at: firstTerm + 3, plans: true, expect: plan{race: all}},
		},
		"the term doubles": {
			{fails: H3},
			{at: firstTerm + 1, plans: true, expect: look3},
			{at: firstTerm + 1, fails: H3},
			{at: 3*firstTerm + 1, plans: true, expect: without3},
			{at: 3*firstTerm + 2, plans: true, expect: look3},
		},
		"the term starts again after success": {
			{fails: H3},
			{at: firstTerm + 1, plans: true, expect: look3},
			{at: firstTerm + 1, works: H3},
			{at: firstTerm + 1, fails: H3},
			{at: 2*firstTerm + 2, plans: true, expect: look3},
		},
		"a failure within the term says nothing new": {
			{fails: H3},
			{at: firstTerm / 2, fails: H3},
			{at: firstTerm + 1, plans: true, expect: look3},
		},
		"what is late comes last": {
			{late: H3},
			{at: tryTime, plans: true, expect: without3},
			{at: tryTime, works: H3},
			{at: tryTime, plans: true, expect: plan{race: all}},
		},
		"and has failed when it ends so": {
			{late: H3},
			{at: 1, late: H3}, // another flow's
			{at: 2, ends: H3},
			{at: 3, ends: H3},
			{at: firstTerm + 2, plans: true, expect: without3},
			{at: firstTerm + 3, plans: true, expect: look3},
		},
		"but not when it has worked since": {
			{late: H3},
			{at: 1, works: H3},
			{at: 2, ends: H3},
			{at: 3, plans: true, expect: plan{race: all}},
		},
		"a failure is worse than to be late": {
			{late: H3},
			{at: 1, fails: H3},
			{at: 2, late: H3},
			{at: firstTerm + 1, plans: true, expect: without3},
			{at: firstTerm + 2, plans: true, expect: look3},
		},
		"several fail": {
			{fails: H3},
			{fails: H2},
			{at: 1, plans: true, expect: plan{race: []Mode{H1}, last: []Mode{H3, H2}}},
		},
		"when all fail all are tried": {
			{fails: H3},
			{fails: H2},
			{fails: H1},
			{at: 1, plans: true, expect: plan{race: all}},
			{at: firstTerm + 1, plans: true, expect: plan{race: all}},
		},
	}
	for name, events := range tests {
		t.Run(name, func(t *testing.T) {
			var m Memory
			start := time.Unix(1e9, 0)
			for i, e := range events {
				now := start.Add(e.at)
				switch {
				case e.works != 0:
					m.worked(e.works)
				case e.fails != 0:
					m.didNot(e.fails, now)
				case e.late != 0:
					m.late(e.late, now)
				case e.ends != 0:
					m.inTheEnd(e.ends, now)
				case e.plans:
					if diff := cmp.Diff(e.expect, m.plan(all, now), cmp.AllowUnexported(plan{})); diff != "" {
						t.Errorf("plan %d after %v (-want +got):\n%s", i, e.at, diff)
					}
				}
			}
		})
	}
}

func TestMemoryTerms(t *testing.T) {
	var m Memory
	now := time.Unix(1e9, 0)
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		if !m.didNot(H3, now) {
			t.Errorf("failure %d is no news", i)
		}
		if m.didNot(H3, now) {
			t.Errorf("failure %d is news twice", i)
		}
		if got := m.failed[H3].until.Sub(now); got != want*time.Minute {
			t.Errorf("term %d = %v, want %v", i, got, want*time.Minute)
		}
		now = m.failed[H3].until
	}
	if !m.worked(H3) || m.worked(H3) {
		t.Error("worked() does not say once that there was a failure")
	}
}

func TestMemoryOfALateMode(t *testing.T) {
	var m Memory
	now := time.Unix(1e9, 0)
	m.late(H3, now)
	if m.worked(H3) {
		t.Error("a mode that was late counts as one that failed")
	}
	if m.inTheEnd(H3, now) {
		t.Error("a failure counts although the mode has worked since it was late")
	}
	m.late(H3, now)
	if !m.inTheEnd(H3, now) || m.inTheEnd(H3, now) {
		t.Error("inTheEnd() does not say once that there was a failure")
	}
	if !m.worked(H3) {
		t.Error("worked() does not say that there was a failure")
	}
}

func TestMemoryOfAnotherNetwork(t *testing.T) {
	var m Memory
	now := time.Now()
	m.didNot(H3, now)
	m.late(H2, now)
	m.Renew()
	want := plan{race: []Mode{H3, H2, H1}}
	if diff := cmp.Diff(want, m.plan([]Mode{H3, H2, H1}, now), cmp.AllowUnexported(plan{})); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}
