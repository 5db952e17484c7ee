package upstream

import (
	"testing"
	"time"
)

func TestDemandWithin(t *testing.T) {
	const second = time.Second
	rows := map[string]struct {
		flows   int           // all at once
		later   time.Duration // when it is asked
		opening time.Duration
		want    int
	}{
		"nobody came":           {0, 0, second, 0},
		"opening unknown":       {20, 0, 0, 0},
		"one flow":              {1, 0, second, 0},
		"a burst":               {17, 0, second, 44},
		"a burst, fast opening": {17, 0, second / 4, 14},
		"a burst, a while ago":  {17, demandMemory, second, 17},
		"a burst, long ago":     {16, 3 * demandMemory, second, 0},
	}
	for name, tt := range rows {
		t.Run(name, func(t *testing.T) {
			var d demand
			now := time.Now()
			for range tt.flows {
				d.ask(now)
			}
			if got := d.within(now.Add(tt.later), tt.opening); got != tt.want {
				t.Errorf("within(%v) = %d, want %d", tt.opening, got, tt.want)
			}
		})
	}
}

func TestSmooth(t *testing.T) {
	average := smooth(0, 400)
	for _, want := range []time.Duration{400, 400} {
		if average = smooth(average, 400); average != want {
			t.Errorf("smooth(400, 400) = %v, want %v", average, want)
		}
	}
	if got := smooth(400, 800); got != 500 {
		t.Errorf("smooth(400, 800) = %v, want 500", got)
	}
}

func TestDoubt(t *testing.T) {
	var d doubt
	now := time.Now()
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		d.failed(now)
		d.failed(now) // at the same time, so the same failure
		if got := d.until.Sub(now); got != want*time.Second {
			t.Errorf("pause after failure %d = %v, want %v", i+1, got, want*time.Second)
		}
		if d.limit(now) != 0 {
			t.Error("dials are allowed during a pause")
		}
		if now = d.until; d.limit(now) != 1 {
			t.Errorf("limit after a pause = %d, want 1", d.limit(now))
		}
	}
	d.proved(d.since) // was open before the failure and says nothing
	if d.limit(now) != 1 {
		t.Error("a connection from before the failure ended the doubt")
	}
	d.proved(now)
	if d.limit(now) < maxDials {
		t.Error("a connection that proved itself did not end the doubt")
	}
	d.failed(now)
	if got := d.until.Sub(now); got != minPause {
		t.Errorf("pause after a new failure = %v, want %v", got, minPause)
	}
}
