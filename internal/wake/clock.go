package wake

import (
	"context"
	"time"
)

const (
	// lookEvery is how often the clock is looked at: a host that wakes up is noticed so soon.
	lookEvery = time.Second
	// leapTime is what must be missing, or too much, to be noticed. A busy machine is late by less, and no
	// peer gives us up for so short a silence.
	leapTime = 3 * time.Second
)

// watchClock calls leapt when more or less time than it should be lies between two looks at the clock.
//
// The monotonic clock stands still while the host sleeps, so it is the other one that tells. After a stop of
// the program alone, the ticker is late on both.
func watchClock(ctx context.Context, now func() time.Time, leapt func()) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for before := now(); ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		at := now()
		if leaps(before, at) {
			leapt()
			at = now()
		}
		before = at
	}
}

func leaps(before, at time.Time) bool {
	passed := at.Round(0).Sub(before.Round(0)) // Round strips the monotonic clock
	return (passed - lookEvery).Abs() >= leapTime
}
