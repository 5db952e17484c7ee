package health_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

func TestNothingGoesDownForItsTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		for range 3 {
			b.add(&fakePath{took: 2 * time.Second, err: quality(errSilent)})
		}
		busy := b.prober.Paths[0].Record
		b.run(t)
		defer b.stop()
		for range 1200 { // ten minutes of traffic on one of them
			busy.Answered(time.Now())
			pass(500 * ms)
			for i, path := range b.prober.Paths {
				if s := path.Record.Status(time.Now()); s.State == health.Down {
					t.Fatalf("path %d is down, %v", i, s.LastError)
				}
			}
		}
		if s := busy.Status(time.Now()); s.LastError != nil || s.LastErrorAt != (time.Time{}) {
			t.Errorf("the busy path is blamed at %v for %v, want never", s.LastErrorAt, s.LastError)
		}
	})
}

// Paths that went well until their target died must not go down one after the other before traffic on one of
// them shows why.
func TestNothingGoesDownWhenTheTargetDies(t *testing.T) {
	for phase := range time.Duration(15) {
		after := 5*time.Minute + phase*2*time.Second
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			for i := range time.Duration(3) { // so that probes fall out of step
				b.add(&fakePath{took: 2*time.Second - i*300*ms})
			}
			busy := b.prober.Paths[0].Record
			b.run(t)
			defer b.stop()
			pass(3 * time.Second)
			traffic := func(d time.Duration) {
				for end := time.Now().Add(d); time.Now().Before(end); pass(500 * ms) {
					busy.Answered(time.Now())
					for i, path := range b.prober.Paths {
						if s := path.Record.Status(time.Now()); s.State != health.Up {
							t.Fatalf("path %d is %v: %v", i, s.State, s.LastError)
						}
					}
				}
			}
			traffic(after)
			for _, f := range b.fakes {
				f.end(quality(errSilent))
			}
			traffic(15 * time.Minute)
		})
	}
}

// Two idle paths whose targets fail cannot be told from dead ones, until traffic shows it.
func TestTrafficClearsThoseThatWereDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		for range 3 {
			b.add(&fakePath{took: 2 * time.Second, err: quality(errSilent)})
		}
		b.run(t)
		defer b.stop()
		pass(time.Minute)
		for range 120 {
			b.prober.Paths[0].Record.Answered(time.Now())
			pass(time.Second)
		}
		for i, path := range b.prober.Paths {
			if s := path.Record.Status(time.Now()); s.State == health.Down {
				t.Errorf("path %d is down after two minutes of traffic on another, want not", i)
			}
		}
	})
}

// A wrong secret fails at the same stage as a dead target. The probes of others tell them apart.
func TestWrongSecretIsNotExcused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		wrong := b.add(&fakePath{took: 2 * time.Second, err: quality(errSilent)})
		well := &fakePath{}
		busy := b.add(well)
		udp := &fakePath{took: 2 * time.Second, err: quality(errSilent)}
		b.addProto(udp, "udp") // another protocol's affair
		b.run(t)
		defer b.stop()
		for range 60 {
			busy.Answered(time.Now())
			pass(time.Second)
		}
		if s := wrong.Status(time.Now()); s.State != health.Down {
			t.Errorf("the path with a wrong secret is %v, want down", s.State)
		}
		if got := well.probes(); got > 4 { // by its own schedule 2, and when the other failed
			t.Errorf("%d probes of the busy path in a minute, want 4 at the most", got)
		}
	})
}

// A target that one exit address cannot reach is in order when it answers on another path.
func TestTargetThatAnswersSomeIsNotToBlame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		blocked := b.add(&fakePath{took: 2 * time.Second, err: quality(errSilent)})
		wrong := b.add(&fakePath{took: 2 * time.Second, err: quality(errSilent)})
		b.add(&fakePath{rtt: 2100 * ms})
		b.run(t)
		defer b.stop()
		for range 240 {
			blocked.Answered(time.Now())
			pass(500 * ms)
		}
		if s := blocked.Status(time.Now()); s.State != health.Up {
			t.Errorf("the path with traffic is %v, want up", s.State)
		}
		downs := 0
		for range 240 {
			blocked.Answered(time.Now())
			pass(500 * ms)
			if wrong.Status(time.Now()).State == health.Down {
				downs++
			}
		}
		if downs < 120 {
			t.Errorf("the path with a wrong secret is down in %d of 240 moments, want most", downs)
		}
	})
}

// Traffic does not speak for a transport that cannot be opened any more.
func TestTransportFailuresCountDespiteTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		r := b.add(&fakePath{err: &health.StageError{Stage: health.Transport, Err: errRefused}})
		b.run(t)
		defer b.stop()
		r.Answered(time.Now())
		pass(6 * time.Second)
		if s := r.Status(time.Now()); s.State != health.Down {
			t.Errorf("state = %v, want down", s.State)
		}
	})
}
