package upstream

import (
	"math"
	"time"
)

const (
	// demandSpan is what the rate of flows is taken over, and demandMemory how slowly its peaks are
	// forgotten: flows come in bursts.
	demandSpan   = 500 * time.Millisecond
	demandMemory = 10 * time.Second

	minPause = time.Second
	maxPause = 30 * time.Second
)

// demand is how fast connections are asked for.
type demand struct {
	level float64 // asked for within about demandSpan
	peak  float64 // the highest level of late
	at    time.Time
}

// ask counts one.
func (d *demand) ask(now time.Time) {
	d.fade(now)
	d.level++
	d.peak = max(d.peak, d.level)
}

// fade brings the levels to now.
func (d *demand) fade(now time.Time) {
	passed := now.Sub(d.at).Seconds()
	d.at = now
	d.level *= math.Exp(-passed / demandSpan.Seconds())
	d.peak = max(d.level, d.peak*math.Exp(-passed/demandMemory.Seconds()))
}

// within is how many may be asked for while one is opened. Flows that come by chance come at unequal
// distances, so it is more than the mean by two standard deviations. One flow alone tells no rate.
func (d *demand) within(now time.Time, opening time.Duration) int {
	d.fade(now)
	mean := max(0, d.peak-1) * (opening.Seconds() / demandSpan.Seconds())
	return int(math.Ceil(mean + 2*math.Sqrt(mean)))
}

// smooth moves an average towards a sample; the first one is taken as it is.
func smooth(average, sample time.Duration) time.Duration {
	if average == 0 {
		return sample
	}
	return average + (sample-average)/4
}

// doubt bounds what a server gets to see that refuses, or drops what it took: pauses that double.
type doubt struct {
	failures int       // in a row
	since    time.Time // when the last one was
	until    time.Time // nothing is opened before
}

// failed counts a failure. Those of dials that were under way together are one.
func (d *doubt) failed(now time.Time) {
	if now.Before(d.until) {
		return
	}
	pause := min(maxPause, minPause<<min(d.failures, 5))
	d.failures++
	d.since, d.until = now, now.Add(pause)
}

// relent ends the pause, but not the doubt.
func (d *doubt) relent() { d.until = time.Time{} }

// proved ends the doubt when a connection that is younger than it was of use.
func (d *doubt) proved(born time.Time) {
	if born.After(d.since) {
		d.failures = 0
	}
}

// limit is how many connections may be under way or have yet to prove themselves.
func (d *doubt) limit(now time.Time) int {
	switch {
	case now.Before(d.until):
		return 0
	case d.failures > 0:
		return 1
	}
	return math.MaxInt
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
