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
	})
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
		busy := b.add(&fakePath{})
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
