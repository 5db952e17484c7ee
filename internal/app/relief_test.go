package app

import "testing"

func TestReliefAfterARush(t *testing.T) {
	var r relief
	for i, step := range []struct {
		open int64
		due  bool
	}{
		{0, false}, {rush - 1, false}, {0, false}, // no rush
		{10 * rush, false}, {2 * rush, false}, // not over
		{rush, true}, {rush / 10, true}, // two steps down
		{0, false}, {0, false}, // and that was it
		{rush, false}, {3, true},
	} {
		if got := r.due(step.open); got != step.due {
			t.Errorf("step %d, %d flows: due = %v, want %v", i, step.open, got, step.due)
		}
	}
}
