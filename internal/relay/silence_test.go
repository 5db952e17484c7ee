package relay

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	idle = 4 * time.Minute
	half = time.Minute
)

// wantSilenceEnd demands that the flow ends with a reset between limit and a quarter more from now on.
func wantSilenceEnd(t *testing.T, c *conversation, limit time.Duration) {
	t.Helper()
	start := time.Now()
	r := c.wait(t)
	took := time.Since(start)
	if !errors.Is(r.Err, ErrSilent) || !errors.Is(r.Err, os.ErrDeadlineExceeded) {
		t.Errorf("Streams = %+v, want error %v", r, ErrSilent)
	}
	if took < limit || took > limit+limit/ticksPerLimit {
		t.Errorf("flow ended after %v of silence, want %v to %v", took, limit, limit+limit/ticksPerLimit)
	}
	wantReset(t, "application", c.app)
	wantReset(t, "target", c.far)
}

func TestSilenceEndsAFlow(t *testing.T) {
	pass := func(t *testing.T, from, to transport.StreamConn) {
		t.Helper()
		mustWrite(t, from, payload(1))
		mustRead(t, to, 1)
		synctest.Wait()
	}
	rows := []struct {
		name   string
		before func(t *testing.T, c *conversation)
		limit  time.Duration
	}{
		{"nothing ever moved", func(*testing.T, *conversation) {}, idle},
		{"uploads re-arm", func(t *testing.T, c *conversation) {
			for range 10 {
				<-time.After(idle * 9 / 10)
				pass(t, c.app, c.far)
			}
		}, idle},
		{"downloads re-arm", func(t *testing.T, c *conversation) {
			for range 10 {
				<-time.After(idle - 1)
				pass(t, c.far, c.app)
			}
		}, idle},
		{"client's half ended", func(_ *testing.T, c *conversation) {
			<-time.After(idle / 2)
			_ = c.app.CloseWrite()
			synctest.Wait()
		}, half},
		{"target's half ended", func(_ *testing.T, c *conversation) {
			_ = c.far.CloseWrite()
			synctest.Wait()
		}, half},
		{"progress after a half ended", func(t *testing.T, c *conversation) {
			_ = c.app.CloseWrite()
			for range 10 {
				<-time.After(half * 9 / 10)
				pass(t, c.far, c.app)
			}
		}, half},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := converse(t.Context(), t, pipePair, Limits{Idle: idle, HalfOpen: half})
				row.before(t, c)
				wantSilenceEnd(t, c, row.limit)
			})
		})
	}
}

func TestUnansweredFlow(t *testing.T) {
	const answer = time.Minute
	say := func(t *testing.T, from, to transport.StreamConn) {
		t.Helper()
		mustWrite(t, from, payload(1))
		mustRead(t, to, 1)
		synctest.Wait()
	}
	rows := []struct {
		name   string
		before func(t *testing.T, c *conversation)
		ends   bool
	}{
		{"client said nothing", func(*testing.T, *conversation) {}, false},
		{"client spoke late", func(t *testing.T, c *conversation) {
			<-time.After(10 * answer)
			say(t, c.app, c.far)
		}, true},
		{"upload goes on", func(t *testing.T, c *conversation) {
			for range 10 {
				say(t, c.app, c.far)
				<-time.After(answer * 9 / 10)
			}
			say(t, c.app, c.far)
		}, true},
		{"answered once", func(t *testing.T, c *conversation) {
			say(t, c.app, c.far)
			say(t, c.far, c.app)
			say(t, c.app, c.far)
		}, false},
		{"client has ended its half", func(t *testing.T, c *conversation) {
			say(t, c.app, c.far)
			_ = c.app.CloseWrite()
			synctest.Wait()
		}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := converse(t.Context(), t, pipePair, Limits{Answer: answer})
				row.before(t, c)
				start := time.Now()
				if !row.ends {
					<-time.After(100 * answer)
					_, _ = c.far.CloseWrite(), c.app.CloseWrite()
				}
				r := c.wait(t)
				if !row.ends {
					if r.Err != nil {
						t.Errorf("Streams = %+v, want a clean end", r)
					}
					return
				}
				if took := time.Since(start); took < answer || took > answer+answer/ticksPerLimit {
					t.Errorf("flow ended after %v of silence, want about %v", took, answer)
				}
				if !errors.Is(r.Err, ErrUnanswered) {
					t.Errorf("Streams = %+v, want error %v", r, ErrUnanswered)
				}
				wantReset(t, "application", c.app)
			})
		})
	}
}

// The wait is measured from the last byte, wherever that falls between two looks.
func TestSilenceAtEveryPhase(t *testing.T) {
	for phase := range 16 {
		synctest.Test(t, func(t *testing.T) {
			c := converse(t.Context(), t, pipePair, Limits{Idle: idle})
			<-time.After(idle * time.Duration(phase) / 16)
			mustWrite(t, c.app, payload(1))
			mustRead(t, c.far, 1)
			wantSilenceEnd(t, c, idle)
		})
	}
}

// A reader that takes nothing is silence, too, however much is waiting.
func TestSilenceOfAStuckFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := converse(t.Context(), t, pipePair, Limits{Idle: idle})
		go func() { _, _ = c.app.Write(make([]byte, 1<<20)) }()
		synctest.Wait()
		wantSilenceEnd(t, c, idle)
	})
}

func TestZeroLimitsWaitForEver(t *testing.T) {
	const years = 3 * 365 * 24 * time.Hour
	rows := []struct {
		name   string
		limits Limits
	}{
		{"no limits", Limits{}},
		{"half-open limit while both are open", Limits{HalfOpen: half}},
		{"idle limit while half open", Limits{Idle: idle}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := converse(t.Context(), t, pipePair, row.limits)
				if row.limits.Idle > 0 {
					_ = c.app.CloseWrite()
					synctest.Wait()
				}
				<-time.After(years)
				mustWrite(t, c.far, payload(9))
				mustRead(t, c.app, 9)
				_, _ = c.far.CloseWrite(), c.app.CloseWrite()
				if r, want := c.wait(t), (Result{Received: 9}); r != want {
					t.Errorf("Streams = %+v, want %+v", r, want)
				}
			})
		})
	}
}

func TestSilenceStopWaitsForExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := false
		s := &silence{moved: func() int64 { return 0 }, expired: func() {
			<-time.After(time.Second)
			done = true
		}}
		s.setLimit(time.Minute)
		<-time.After(time.Minute + time.Millisecond) // in the middle of expired
		s.stop()
		if !done {
			t.Error("stop returned before expired did")
		}
	})
}

func TestSilenceStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &silence{moved: func() int64 { return 0 }, expired: func() { t.Error("expired after stop") }}
		s.setLimit(time.Minute)
		s.stop()
		s.setLimit(time.Second)
		s.stop()
		<-time.After(time.Hour)
	})
}
