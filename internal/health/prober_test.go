package health_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

func TestIntervalsOfAStablePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := newBench(), &fakePath{}
		r := b.add(f)
		b.run(t)
		defer b.stop()
		pass(0)
		if s := r.Status(time.Now()); s.State != health.Up {
			t.Fatalf("after the first probe, at once: %v, want up", s.State)
		}
		pass(3 * time.Minute)
		wantGaps(t, f, 5*time.Second, 8*time.Second, 12800*ms, 20480*ms, 30*time.Second, 30*time.Second)
	})
}

func TestIntervalsOfADownPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := newBench(), &fakePath{err: errRefused}
		other := &fakePath{}
		b.add(f)
		b.add(other)
		b.run(t)
		defer b.stop()
		pass(3 * time.Minute)
		// Suspect after one failure, then down: from the shortest interval on while the other is up.
		wantGaps(t, f, time.Second, time.Second, 1600*ms, 2560*ms, 4096*ms)

		other.end(errRefused)
		pass(time.Minute) // the other is down by now, and neither waits any more
		f.take()
		other.take()
		pass(time.Minute)
		wantGaps(t, f, time.Second, time.Second, time.Second)
		wantGaps(t, other, time.Second, time.Second, time.Second)

		other.end(nil)
		pass(time.Minute)
		if between := gaps(f.take()); between[len(between)-1] < 10*time.Second {
			t.Errorf("intervals with the other up again = %v, want them to grow", between)
		}
	})
}

// A path that takes its time because another is up must not go on so when that one goes down.
func TestLastHopeIsProbedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, other := newBench(), &fakePath{err: errRefused}, &fakePath{}
		b.add(f)
		r := b.add(other)
		b.run(t)
		defer b.stop()
		pass(10 * time.Minute)
		other.end(errRefused)
		for r.Status(time.Now()).State != health.Down {
			f.take()
			pass(100 * ms)
		}
		pass(time.Second)
		if f.probes() == 0 {
			t.Error("no probe within a second after the other went down, want one")
		}
	})
}

func TestJitterStaysWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := newBench(), &fakePath{err: errRefused}
		b.prober.Schedule.Jitter = 200 * ms
		b.add(f)
		began := time.Now()
		b.run(t)
		defer b.stop()
		pass(5 * time.Minute)
		times := f.take()
		if first := times[0].Sub(began); first > 200*ms {
			t.Errorf("first probe after %v, want 200ms at the most", first)
		}
		seen := make(map[time.Duration]bool)
		for _, gap := range gaps(times)[2:] {
			seen[gap] = true
			if gap < time.Second || gap > 1200*ms {
				t.Errorf("interval %v, want 1s to 1.2s", gap)
			}
		}
		if len(seen) < 10 {
			t.Errorf("%d different intervals, want many", len(seen))
		}
	})
}

func TestBusyPathsAreProbedLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := newBench(), &fakePath{}
		r := b.add(f)
		b.run(t)
		defer b.stop()
		for range 300 {
			r.Answered(time.Now())
			pass(time.Second)
		}
		if got := f.probes(); got > 12 {
			t.Errorf("%d probes in 5 min of traffic, want one in 30 s", got)
		}
	})
}

func TestSilentServersDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.prober.Limit = 4
		for range 20 {
			b.add(&fakePath{silent: true})
		}
		good := &fakePath{rtt: 50 * ms}
		r := b.add(good)
		began := time.Now()
		b.run(t)
		defer b.stop()

		// Nobody knows yet who is silent, so that the first probe may stand behind those of others, but never
		// behind all of their silence.
		pass(time.Second + 300*ms)
		if s := r.Status(time.Now()); s.State != health.Up {
			t.Fatalf("after %v: %v, want up", time.Since(began), s.State)
		}
		pass(3 * time.Minute)
		wantGaps(t, good, 5050*ms, 8050*ms, 12850*ms, 20530*ms, 30050*ms, 30050*ms)
	})
}

// A server that comes back among many that are silent is noticed, because twenty have room.
func TestRevivedAmongSilentIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		for range 20 {
			b.add(&fakePath{silent: true})
		}
		f := &fakePath{silent: true}
		r := b.add(f)
		b.run(t)
		defer b.stop()
		pass(time.Minute)
		f.end(nil)
		pass(3*time.Second + time.Second) // what is left of a silent probe, and the interval
		if s := r.Status(time.Now()); s.State != health.Up {
			t.Errorf("4 s after it came back: %v, want up", s.State)
		}
	})
}

func TestLimitHoldsForDoubtfulPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.prober.Limit = 3
		var running, most int
		var mu sync.Mutex
		for range 20 {
			r := health.NewRecord(policy)
			play(r, "ff")
			b.prober.Paths = append(b.prober.Paths, health.Path{
				Proto: "tcp", Record: r, Probe: func(ctx context.Context) (time.Duration, error) {
					mu.Lock()
					running++
					most = max(most, running)
					mu.Unlock()
					<-ctx.Done()
					mu.Lock()
					running--
					mu.Unlock()
					return 0, errSilent
				},
			})
		}
		b.run(t)
		defer b.stop()
		pass(time.Minute)
		if most != 3 {
			t.Errorf("%d probes at a time, want 3", most)
		}
	})
}

func TestSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := newBench(), &fakePath{}
		b.add(f)
		b.prober.Soon(0) // before Run
		b.run(t)
		defer b.stop()
		pass(20 * time.Second)
		f.take()
		began := time.Now()
		for range 50 { // for five seconds
			for range 100 {
				b.prober.Soon(0)
			}
			pass(100 * ms)
		}
		times := f.take()
		if len(times) == 0 || !times[0].Equal(began) {
			t.Fatalf("probes at %v, want the first at once, at %v", times, began)
		}
		for _, gap := range gaps(times) {
			if gap != time.Second {
				t.Errorf("interval %v, want the shortest, 1s", gap)
			}
		}
	})
}

func TestNoNetworkIsNoStorm(t *testing.T) {
	for name, err := range map[string]error{
		"unreachable": syscall.ENETUNREACH, "down": syscall.ENETDOWN, "descriptors": syscall.EMFILE,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				for range 3 {
					b.add(&fakePath{err: &health.StageError{Stage: health.Transport, Err: err}})
				}
				b.run(t)
				defer b.stop()
				pass(10 * time.Second)
				for range 600 { // a minute in which every flow fails
					b.prober.Soon(0)
					pass(100 * ms)
				}
				for i, f := range b.fakes {
					if got := f.probes(); got > 16 { // before the others failed too, this one was suspect
						t.Errorf("path %d: %d probes in 70 s, want one in 5 s and one more", i, got)
					}
				}
				for i := range b.fakes {
					b.fakes[i].end(nil)
				}
				pass(5 * time.Second)
				for i, path := range b.prober.Paths {
					s := path.Record.Status(time.Now())
					if s.State != health.Up || !s.Eligible() || s.Penalty != 0 {
						t.Errorf("path %d: %v, penalty %v, want up, 0", i, s.State, s.Penalty)
					}
				}
			})
		})
	}
}

func TestStallsDemoteAlthoughProbesPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		r := b.add(&fakePath{rtt: 20 * ms})
		b.run(t)
		defer b.stop()
		pass(time.Minute)
		r.Stalled(time.Now(), "a:443")
		r.Stalled(time.Now(), "b:443")
		for range 19 {
			b.prober.Soon(0)
			pass(time.Second)
			if s := r.Status(time.Now()); s.State != health.Up || s.Eligible() {
				t.Fatalf("state %v, eligible %v, want up, not eligible", s.State, s.Eligible())
			}
		}
		pass(2 * time.Second)
		if s := r.Status(time.Now()); !s.Eligible() || s.Penalty == 0 {
			t.Errorf("after the cooldown: eligible %v, penalty %v, want true, some", s.Eligible(), s.Penalty)
		}
	})
}

func TestResultsAndLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := newBench(), &fakePath{rtt: 30 * ms, took: 60 * ms}
		b.add(f)
		var results []health.Result
		b.prober.OnResult = func(i int, r health.Result) {
			if i != 0 {
				t.Errorf("result of path %d, want 0", i)
			}
			results = append(results, r)
		}
		b.run(t)
		pass(time.Second)
		f.end(errRefused)
		pass(10 * time.Second)
		b.stop()
		first, last := results[0], results[len(results)-1]
		if first.Err != nil || first.RTT != 30*ms || first.Took != 90*ms ||
			first.Before.State != health.Unknown || first.After.State != health.Up {
			t.Errorf("first result = %+v, want 30ms of 90ms, from unknown to up", first)
		}
		if !errors.Is(last.Err, errRefused) || last.After.State != health.Down || last.Excused {
			t.Errorf("last result = %+v, want down, %v", last, errRefused)
		}
		text := b.log.String()
		for _, line := range []string{
			`level=INFO msg="upstream up" upstream=up proto=tcp rtt=30ms`,
			`level=WARN msg="upstream down" upstream=up proto=tcp stage=transport err="connection refused"`,
		} {
			if strings.Count(text, line) != 1 {
				t.Errorf("log does not have one line %q:\n%s", line, text)
			}
		}
	})
}

func TestRunEndsInTheMiddleOfAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.prober.Limit, b.prober.Logger, b.prober.Timeout = 1, nil, 0
		record := b.add(&fakePath{silent: true})
		play(record, "ff")
		waiting := b.add(&fakePath{silent: true}) // for a place
		play(waiting, "ff")
		b.run(t)
		pass(time.Hour)
		before := record.Status(start)
		b.stop()
		if after := record.Status(start); after != before {
			t.Errorf("a probe that was called off changed %+v to %+v", before, after)
		}
	})
}

// A change of the network ends Run. The next one must not wait for what was planned before.
func TestRunAgainProbesAtOnce(t *testing.T) {
	for name, err := range map[string]error{"up": nil, "without a network": syscall.ENETUNREACH} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, f := newBench(), &fakePath{err: err}
				b.add(f)
				b.run(t)
				pass(time.Minute)
				b.stop()
				f.take()
				b.prober.Soon(0)
				b.run(t)
				defer b.stop()
				pass(0)
				if got := f.probes(); got != 1 {
					t.Errorf("%d probes at once, want 1", got)
				}
				pass(5 * time.Second)
				if got := f.probes(); got != 1 {
					t.Errorf("%d probes in the interval after that, want 1", got)
				}
			})
		})
	}
}

func TestRunForgetsProbesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f := newBench(), &fakePath{silent: true}
		r := b.add(f)
		for range 5 {
			b.run(t)
			pass(time.Second)
			b.stop()
		}
		if s := r.Status(time.Now()); s.Failures > 0 || f.probes() != 5 {
			t.Errorf("%d failures, want none", s.Failures)
		}
	})
}
