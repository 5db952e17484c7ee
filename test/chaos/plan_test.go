package main

import (
	"slices"
	"testing"
	"time"
)

func TestPlan(t *testing.T) {
	for _, seconds := range []int{minSeconds, 30, 120, 600} {
		total := time.Duration(seconds) * time.Second
		var sum time.Duration
		seen := make(map[fault]int)
		phases := plan(total)
		for i, p := range phases {
			sum += p.duration
			seen[p.fault]++
			if calmTurn := i%2 == 0; calmTurn != (p.fault == calm) || calmTurn != (p.strikes == "") {
				t.Errorf("%ds: phase %d is %+v", seconds, i, p)
			}
			if p.duration < 500*time.Millisecond {
				t.Errorf("%ds: phase %d takes %v", seconds, i, p.duration)
			}
		}
		if sum > total || sum < total-time.Second || phases[len(phases)-1].fault != calm {
			t.Errorf("%ds: the phases take %v and end with %q", seconds, sum, phases[len(phases)-1].fault)
		}
		for _, f := range faults {
			if seen[f] == 0 {
				t.Errorf("%ds: no %q", seconds, f)
			}
		}
	}
	second := slices.IndexFunc(plan(2*time.Minute), func(p phase) bool { return p.strikes == "udp" })
	if second != 1+2*len(faults) {
		t.Errorf("the round that strikes UDP begins with phase %d", second)
	}
}

func TestOptions(t *testing.T) {
	tests := []struct {
		o    options
		good bool
	}{
		{options{120, 200, "h1"}, true},
		{options{minSeconds, 1, "h3"}, true},
		{options{minSeconds - 1, 1, "h1"}, false},
		{options{120, 0, "h1"}, false},
		{options{120, 200, "h4"}, false},
	}
	for _, tt := range tests {
		if err := tt.o.check(); (err == nil) != tt.good {
			t.Errorf("%+v: %v", tt.o, err)
		}
	}
}

func TestPick(t *testing.T) {
	seen := make(map[kind]int)
	for n := range 100 {
		seen[pick(n)]++
	}
	for _, k := range kinds {
		if seen[k] != weights[k] || seen[k] == 0 {
			t.Errorf("%d of a hundred flows are %s, want %d", seen[k], k, weights[k])
		}
	}
}
