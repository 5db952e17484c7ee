package health_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

var errSilent = errors.New("nothing came")

// fakePath is a path whose probes end as the test says.
type fakePath struct {
	mu     sync.Mutex
	rtt    time.Duration
	err    error         // what probes end with
	silent bool          // they end with their context only
	times  []time.Time   // when probes began
	took   time.Duration // besides the RTT
}

func (f *fakePath) probe(ctx context.Context) (time.Duration, error) {
	f.mu.Lock()
	f.times = append(f.times, time.Now())
	rtt, err, silent, took := f.rtt, f.err, f.silent, f.took
	f.mu.Unlock()
	if silent {
		<-ctx.Done()
		return 0, &health.StageError{Stage: health.Transport, Err: errSilent}
	}
	select {
	case <-time.After(rtt + took):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	return rtt, err
}

// end is what probes end with from now on, without waiting for it.
func (f *fakePath) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.silent = err, false
}

// probes returns how many probes began since the last call.
func (f *fakePath) probes() int { return len(f.take()) }

func (f *fakePath) take() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	times := f.times
	f.times = nil
	return times
}

// bench is a prober with its paths.
type bench struct {
	prober *health.Prober
	fakes  []*fakePath
	log    *bytes.Buffer
	stop   func()
}

// add adds a path over TCP.
func (b *bench) add(f *fakePath) *health.Record { return b.addProto(f, "tcp") }

func (b *bench) addProto(f *fakePath, proto string) *health.Record {
	r := health.NewRecord(policy)
	b.fakes = append(b.fakes, f)
	b.prober.Paths = append(b.prober.Paths, health.Path{Name: "up", Proto: proto, Record: r, Probe: f.probe})
	return r
}

func newBench() *bench {
	b := &bench{log: new(bytes.Buffer)}
	s := schedule
	s.Jitter, s.RTTScale = 0, 0
	b.prober = &health.Prober{
		Schedule: s, Timeout: 3 * time.Second, Logger: slog.New(slog.NewTextHandler(b.log, nil)),
	}
	return b
}

// run starts the prober; the test stops it before it ends.
func (b *bench) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.prober.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func quality(err error) error {
	return &health.StageError{Stage: health.Quality, Target: "target:80", Err: err}
}

// gaps are the times between probes.
func gaps(times []time.Time) []time.Duration {
	var between []time.Duration
	for i := 1; i < len(times); i++ {
		between = append(between, times[i].Sub(times[i-1]))
	}
	return between
}

func wantGaps(t *testing.T, f *fakePath, want ...time.Duration) {
	t.Helper()
	got := gaps(f.take())
	if len(got) < len(want) {
		t.Fatalf("intervals %v, want %v and more", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("intervals %v, want %v", got, want)
		}
	}
}
