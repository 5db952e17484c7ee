package gate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// entry is a flow that waits at a gate, or has been let in or refused.
type entry struct {
	leave func()
	err   error
	after time.Duration
}

// enter has a flow enter in a goroutine of its own.
func enter(ctx context.Context, g *Gate) <-chan entry {
	done := make(chan entry, 1)
	began := time.Now()
	go func() {
		leave, err := g.Enter(ctx, "tcp")
		done <- entry{leave, err, time.Since(began)}
	}()
	return done
}

// inside fails the test unless so many streams are inside and so many wait.
func inside(t *testing.T, g *Gate, in, waiting int64) {
	t.Helper()
	synctest.Wait()
	if s := g.Stats().TCP; s.Inside != in || s.Waiting != waiting {
		t.Errorf("%d inside and %d waiting, want %d and %d", s.Inside, s.Waiting, in, waiting)
	}
}

// must returns how a flow leaves that came in at once.
func must(t *testing.T, g *Gate, proto string) (leave func()) {
	t.Helper()
	leave, err := g.Enter(t.Context(), proto)
	if err != nil {
		t.Fatalf("Enter(%s) = %v", proto, err)
	}
	return leave
}

func TestOpenWithoutLimits(t *testing.T) {
	g := New(Options{})
	for range 1000 {
		must(t, g, "tcp")
		must(t, g, "udp")
	}
	if s := g.Stats(); s.TCP.Inside != 1000 || s.UDP.Inside != 1000 {
		t.Errorf("Stats() = %+v, want 1000 inside each", s)
	}
}

func TestRefusedAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		g.Update(Limits{Streams: 1, Packets: 1})
		leave := must(t, g, "tcp")
		must(t, g, "udp") // which has places of its own
		late := <-enter(t.Context(), g)
		if !errors.Is(late.err, ErrFlows) || late.after != patience {
			t.Errorf("one too many: %v after %v, want %v after %v", late.err, late.after, ErrFlows, patience)
		}
		leave()
		must(t, g, "tcp")
		if s := g.Stats().TCP; s != (Counts{Inside: 1, RefusedFlows: 1}) {
			t.Errorf("Stats().TCP = %+v, want one inside and one refused", s)
		}
	})
}

// TestOneAfterTheOther: who comes first is let in first, and nobody overtakes those who wait.
func TestOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		g.Update(Limits{Streams: 1})
		leave := must(t, g, "tcp")
		var waiting []<-chan entry
		for range 3 {
			waiting = append(waiting, enter(t.Context(), g))
			synctest.Wait()
		}
		inside(t, g, 1, 3)
		for i, w := range waiting {
			leave()
			in := <-w
			if in.err != nil || in.after > again {
				t.Fatalf("flow %d: %v after %v, want to be let in at once", i, in.err, in.after)
			}
			leave = in.leave
			inside(t, g, 1, int64(len(waiting)-i-1))
		}
	})
}

func TestCrowdIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		g.Update(Limits{Streams: 1, Waiting: 2})
		leave := must(t, g, "tcp")
		first, second := enter(t.Context(), g), enter(t.Context(), g)
		inside(t, g, 1, 2)
		if third := <-enter(t.Context(), g); !errors.Is(third.err, ErrFlows) || third.after != 0 {
			t.Errorf("the third ended with %v after %v, want %v at once", third.err, third.after, ErrFlows)
		}
		leave()
		synctest.Wait()
		inside(t, g, 1, 1)
		for _, w := range []<-chan entry{first, second} {
			if in := <-w; in.err == nil {
				in.leave()
			}
		}
		inside(t, g, 0, 0)
	})
}

func TestEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		g.Update(Limits{Streams: 1})
		must(t, g, "tcp")
		cause := errors.New("cut")
		ctx, cut := context.WithCancelCause(t.Context())
		first, second := enter(ctx, g), enter(ctx, g) // one has its turn, the other has not
		inside(t, g, 1, 2)
		cut(cause)
		for _, w := range []<-chan entry{first, second} {
			if got := <-w; !errors.Is(got.err, cause) {
				t.Errorf("Enter = %v, want %v", got.err, cause)
			}
		}
		if s := g.Stats().TCP; s != (Counts{Inside: 1}) {
			t.Errorf("Stats().TCP = %+v, want one inside and none refused", s)
		}
	})
}

// TestMorePlaces: an update lets in who waits; fewer places throw nobody out.
func TestMorePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		g.Update(Limits{Streams: 1})
		leave := must(t, g, "tcp")
		w := enter(t.Context(), g)
		inside(t, g, 1, 1)
		g.Update(Limits{Streams: 2})
		if in := <-w; in.err != nil || in.after > again {
			t.Errorf("Enter = %v after %v, want to be let in", in.err, in.after)
		}
		g.Update(Limits{Streams: 1})
		inside(t, g, 2, 0)
		leave()
		if late := <-enter(t.Context(), g); !errors.Is(late.err, ErrFlows) {
			t.Errorf("Enter = %v with as many inside as may be, want %v", late.err, ErrFlows)
		}
		g.Update(Limits{})
		must(t, g, "tcp")
	})
}

// TestNeverMoreThanPlaces has many flows come and go at once.
func TestNeverMoreThanPlaces(t *testing.T) {
	const places, flows = 8, 64
	g := New(Options{})
	g.Update(Limits{Streams: places})
	held := make(chan struct{}, places)
	var running sync.WaitGroup
	for range flows {
		running.Go(func() {
			for range 50 {
				leave, err := g.Enter(t.Context(), "tcp")
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case held <- struct{}{}:
				default:
					t.Error("more inside than there are places")
				}
				<-held
				leave()
			}
		})
	}
	running.Wait()
	if s := g.Stats().TCP; s != (Counts{}) {
		t.Errorf("Stats().TCP = %+v in the end, want none", s)
	}
}
