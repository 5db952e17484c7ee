package wake

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNews is news that a test makes up.
type fakeNews struct {
	came chan struct{} // has room for many
	gone chan struct{} // closed by Close
	once sync.Once
}

func newFakeNews() *fakeNews {
	return &fakeNews{came: make(chan struct{}, 1000), gone: make(chan struct{})}
}

func (f *fakeNews) Wait() error {
	select {
	case <-f.came:
		return nil
	case <-f.gone:
		return io.EOF
	}
}

func (f *fakeNews) Forget() error {
	for len(f.came) > 0 {
		<-f.came
	}
	return nil
}

func (f *fakeNews) Close() error {
	f.once.Do(func() { close(f.gone) })
	return nil
}

// watched runs watchNetwork in a bubble, and gives the test the times at which it called.
func watched(t *testing.T, test func(f *fakeNews, times func() []time.Duration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f, start := newFakeNews(), time.Now()
		var calls []time.Duration
		var running sync.WaitGroup
		running.Go(func() {
			watchNetwork(ctx, f, func() { calls = append(calls, time.Since(start)) })
		})
		test(f, func() []time.Duration {
			synctest.Wait()
			return calls
		})
		cancel()
		running.Wait()
		if f.Wait() == nil {
			t.Error("the news were not closed")
		}
	})
}

func TestNewsOfOneMomentAreOneChange(t *testing.T) {
	watched(t, func(f *fakeNews, times func() []time.Duration) {
		for range 10 {
			f.came <- struct{}{}
			time.Sleep(settleTime / 20)
		}
		time.Sleep(time.Minute)
		if got := times(); len(got) != 1 || got[0] != settleTime {
			t.Errorf("changes at %v, want one at %v", got, settleTime)
		}
	})
}

func TestNoNewsNoChange(t *testing.T) {
	watched(t, func(_ *fakeNews, times func() []time.Duration) {
		time.Sleep(time.Hour)
		if got := times(); len(got) > 0 {
			t.Errorf("changes at %v, want none", got)
		}
	})
}

// However many reports come, there are no more changes than moments.
func TestFloodOfNews(t *testing.T) {
	watched(t, func(f *fakeNews, times func() []time.Duration) {
		for range 1000 {
			f.came <- struct{}{}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		if got := len(times()); got < 4 || got > 5 {
			t.Errorf("%d changes in a second of news, want 5", got)
		}
	})
}

func TestNewsThatEnd(t *testing.T) {
	watched(t, func(f *fakeNews, times func() []time.Duration) {
		_ = f.Close()
		if got := times(); len(got) > 0 {
			t.Errorf("changes at %v, want none", got)
		}
	})
}

// fakeClock is a clock that a test can set. Both its parts go on as the bubble's do.
type fakeClock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Round(0).Add(c.off)
}

func (c *fakeClock) leap(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

func TestClockThatLeaps(t *testing.T) {
	rows := map[string]struct {
		by   time.Duration
		want int
	}{
		"not at all":   {0, 0},
		"a little":     {leapTime - 1, 0},
		"slept":        {leapTime, 1},
		"slept long":   {10 * time.Hour, 1},
		"set back":     {-time.Hour, 1},
		"a little off": {-time.Second, 0},
	}
	for name, tt := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				c, leaps := new(fakeClock), 0
				var running sync.WaitGroup
				running.Go(func() { watchClock(ctx, c.now, func() { leaps++ }) })
				time.Sleep(10 * time.Second)
				c.leap(tt.by)
				time.Sleep(lookEvery) // it is noticed at the next look
				synctest.Wait()
				if leaps != tt.want {
					t.Errorf("%d leaps, want %d", leaps, tt.want)
				}
				time.Sleep(time.Minute)
				cancel()
				running.Wait()
				if leaps != tt.want {
					t.Errorf("%d leaps a minute later, want %d", leaps, tt.want)
				}
			})
		})
	}
}

// A receiver that takes its time is no leap of the clock.
func TestSlowReceiverIsNoLeap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c, leaps := new(fakeClock), 0
		var running sync.WaitGroup
		running.Go(func() {
			watchClock(ctx, c.now, func() {
				leaps++
				time.Sleep(time.Minute)
			})
		})
		synctest.Wait()
		c.leap(time.Hour)
		time.Sleep(5 * time.Minute)
		cancel()
		running.Wait()
		if leaps != 1 {
			t.Errorf("%d leaps, want 1", leaps)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Run(ctx, slog.New(slog.DiscardHandler), make(chan Cause))
	}()
	cancel()
	<-done
}

func TestCauseString(t *testing.T) {
	for c, want := range map[Cause]string{Network: "network", Clock: "clock"} {
		if got := c.String(); got != want {
			t.Errorf("Cause(%d).String() = %q, want %q", c, got, want)
		}
	}
}
