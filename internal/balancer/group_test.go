package balancer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestDialFailureMovesTheFlow(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].dial, s.ups[1].dial = refuse, refuse
		began := time.Now()
		if got := s.dial(t).(transport.Carried).Upstream(); got != "c" || time.Since(began) != 0 {
			t.Errorf("carried by %s after %v", got, time.Since(began))
		}
		if !s.ups[0].cooling() || !s.ups[1].cooling() || !slices.Equal(s.trouble, []int{0, 1}) {
			t.Errorf("those that refused are not cooling, or not in trouble: %v", s.trouble)
		}
		s.dial(t)
		if got := s.ups[0].dialed(); got != 1 {
			t.Errorf("%d dials to a cooling upstream, want 1", got)
		}
		time.Sleep(cooldown)
		s.ups[0].dial = nil
		if s.dial(t); s.ups[0].dialed() != 1 {
			t.Error("the current upstream was left although it works")
		}
	})
}

func TestSilentDialIsOvertaken(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].dial = blackhole
		began := time.Now()
		if got := s.dial(t).(transport.Carried).Upstream(); got != "b" {
			t.Errorf("carried by %s", got)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("opened after %v, want 1s", took)
		}
		if !s.ups[0].cooling() {
			t.Error("the silent upstream is not cooling")
		}
	})
}

// Nothing is refused untried, however bad it looks.
func TestLastHope(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].dial, s.ups[1].dial = refuse, refuse
		for range 2 {
			_, err := s.DialStream(t.Context(), target)
			if !errors.Is(err, ErrNoUpstream) || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("DialStream() = %v", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error on several lines: %v", err)
			}
		}
		// The first one was known to work when the first flow began, and is tried twice for it.
		if a, b := s.ups[0].dialed(), s.ups[1].dialed(); a != 3 || b != 2 {
			t.Errorf("%d and %d dials, want 3 and 2", a, b)
		}
		s.ups[0].dial = nil
		s.dial(t)
	})
}

// TestOddRefusal: a sole upstream whose front refuses now and then loses no flow.
func TestOddRefusal(t *testing.T) {
	inBubble(t, 1, testOptions(), func(t *testing.T, s *setup) {
		dials := 0
		s.ups[0].dial = func(context.Context) error {
			if dials++; dials == 1 {
				return syscall.ECONNREFUSED
			}
			return nil
		}
		began := time.Now()
		if s.dial(t); time.Since(began) != againPause {
			t.Errorf("opened after %v, want %v", time.Since(began), againPause)
		}
	})
}

func TestCancelledDialBlamesNobody(t *testing.T) {
	inBubble(t, 2, Options{}, func(t *testing.T, s *setup) {
		s.ups[0].dial = blackhole
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.DialStream(ctx, target); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("DialStream() = %v", err)
		}
		if s.ups[0].cooling() || s.ups[1].dialed() > 0 {
			t.Error("a dial that its client ended was held against the upstream")
		}
	})
}

func TestLocalFailuresBlameNobody(t *testing.T) {
	inBubble(t, 1, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].dial = func(context.Context) error { return fmt.Errorf("socket: %w", syscall.EMFILE) }
		if _, err := s.DialStream(t.Context(), target); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("DialStream() = %v", err)
		}
		if s.ups[0].cooling() {
			t.Error("the upstream cools because this host has no descriptors left")
		}
	})
}

func TestNothingCarriesIt(t *testing.T) {
	b := New([]Member{{Name: "a"}}, Options{})
	if _, err := b.DialStream(t.Context(), target); !errors.Is(err, ErrNoUpstream) {
		t.Errorf("DialStream() = %v", err)
	}
	if _, err := b.ListenPacket(t.Context()); !errors.Is(err, ErrNoUpstream) {
		t.Errorf("ListenPacket() = %v", err)
	}
	if b.CarriesPackets() {
		t.Error("CarriesPackets() = true")
	}
}

// Every switch is one line with both scores and the reason, and is remembered.
func TestSwitchesAreExplained(t *testing.T) {
	var log bytes.Buffer
	o := testOptions()
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	inBubble(t, 2, o, func(t *testing.T, s *setup) {
		s.ups[0].record.Success(time.Now(), 40*ms)
		s.ups[1].record.Success(time.Now(), 50*ms)
		s.dial(t)
		s.ups[0].record.Failure(time.Now(), syscall.ECONNREFUSED)
		s.ups[0].record.Failure(time.Now(), syscall.ECONNREFUSED)
		s.dial(t)
		got := s.Decisions()
		if len(got) != 2 || got[0].To != "a" || got[0].Reason != ReasonFirst ||
			got[1].From != "a" || got[1].To != "b" || got[1].Reason != ReasonDown || got[1].ToScore != 50*ms {
			t.Errorf("decisions = %+v", got)
		}
	})
	want := `msg="upstream switched" proto=tcp upstream=b score=50ms reason=down from=a`
	if !strings.Contains(log.String(), want) {
		t.Errorf("log has no %s:\n%s", want, log.String())
	}
}

func TestDecisionsAreBounded(t *testing.T) {
	var d decisions
	for i := range 3 * keptDecisions {
		d.add(Decision{To: fmt.Sprint(i)})
	}
	got := d.list()
	if len(got) != keptDecisions || got[0].To != fmt.Sprint(2*keptDecisions) {
		t.Errorf("%d decisions from %s", len(got), got[0].To)
	}
}

// A dial that nothing answers waits for another upstream to come back, and not for its own end alone.
func TestUpstreamComesBackDuringADial(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].dial = blackhole
		s.ups[1].serve = s.ups[1].answering(0)
		for _, up := range s.ups {
			for range 2 {
				up.record.Failure(time.Now(), syscall.ECONNREFUSED)
			}
		}
		time.AfterFunc(1500*ms, func() { s.ups[1].record.Success(time.Now(), ms) })
		began := time.Now()
		conn := s.dial(t)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("dialed within %v, want 2s", took)
		}
		send(t, conn, hello)
		wantAnswer(t, conn, "b", 0)
	})
}

func TestStandbyFollowsTheScores(t *testing.T) {
	o := testOptions()
	o.Standby = 2
	inBubble(t, 3, o, func(t *testing.T, s *setup) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		for i, f := range s.ups {
			f.record.Success(time.Now(), time.Duration(i+1)*10*ms)
		}
		time.Sleep(lookEvery)
		s.ups[0].record.FlowFailed(time.Now(), syscall.ECONNREFUSED)
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for i, want := range [][]int{{1, 0}, {1}, {1}} {
			if got := s.ups[i].keep; !slices.Equal(got, want) {
				t.Errorf("%s was told to keep %v, want %v", s.ups[i].name, got, want)
			}
		}
	})
}

func TestAffinity(t *testing.T) {
	from := func(ctx context.Context, client string) context.Context {
		return transport.WithClient(ctx, netip.MustParseAddr(client))
	}
	nobody := func(ctx context.Context) context.Context { return ctx }
	client := func(addr string) func(context.Context) context.Context {
		return func(ctx context.Context) context.Context { return from(ctx, addr) }
	}
	tests := map[string]struct {
		affinity Affinity
		ctx      func(context.Context) context.Context
		addr     string
		sticks   bool
	}{
		"same client":      {ClientAffinity, client("::ffff:10.0.0.1"), "x:1", true},
		"another client":   {ClientAffinity, client("10.0.0.2"), target, false},
		"nobody knows who": {ClientAffinity, nobody, target, false},
		"same host":        {TargetAffinity, nobody, "target.example:80", true},
		"another host":     {TargetAffinity, nobody, "other.example:443", false},
		"no affinity":      {NoAffinity, nobody, target, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := testOptions()
			o.Affinity = tt.affinity
			inBubble(t, 2, o, func(t *testing.T, s *setup) {
				first, err := s.DialStream(from(t.Context(), "10.0.0.1"), target)
				if err != nil {
					t.Fatal(err)
				}
				_ = first.Close()
				s.ups[1].record.Success(time.Now(), ms) // from now on it is far better
				time.Sleep(lookAfter)
				s.dialAs(t, "10.9.9.9")
				time.Sleep(settleTime)
				s.dialAs(t, "10.9.9.9")
				conn, err := s.DialStream(tt.ctx(t.Context()), tt.addr)
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.Close()
				if sticks := conn.(transport.Carried).Upstream() == "a"; sticks != tt.sticks {
					t.Errorf("sticks = %v, want %v", sticks, tt.sticks)
				}
				s.ups[0].record.FlowFailed(time.Now(), syscall.ECONNREFUSED)
				conn, err = s.DialStream(tt.ctx(t.Context()), tt.addr)
				if err != nil || conn.(transport.Carried).Upstream() != "b" {
					t.Errorf("stays on a path that cannot be used: %v", err)
				}
				_ = conn.Close()
			})
		})
	}
}

// dialAs opens a flow to a host of its own, and closes it.
func (s *setup) dialAs(t *testing.T, client string) {
	t.Helper()
	ctx := transport.WithClient(t.Context(), netip.MustParseAddr(client))
	conn, err := s.DialStream(ctx, "else.example:1")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestHomesAreBoundedAndForgotten(t *testing.T) {
	var h homes[transport.StreamDialer]
	p := newPath(Member{}, Path[transport.StreamDialer]{})
	for i := range 5 * maxHomes {
		h.put(fmt.Sprint(i), p, start)
	}
	if n := len(h.young) + len(h.old); n > 2*maxHomes {
		t.Errorf("%d homes are kept", n)
	}
	if h.find("0", start) != nil {
		t.Error("the oldest is still there")
	}
	if h.find(fmt.Sprint(5*maxHomes-1), start.Add(homeTime)) != p {
		t.Error("the last is gone")
	}
	if h.find(fmt.Sprint(5*maxHomes-1), start.Add(homeTime+1)) != nil {
		t.Error("the last is kept too long")
	}
}

// Two hundred flows meet a dying upstream at once: all of them are answered.
func TestManyFlowsFailOver(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = s.ups[0].resetting
		s.ups[1].serve = s.ups[1].answering(0)
		s.ups[2].serve = s.ups[2].answering(0)
		var conns []transport.StreamConn
		for range 200 {
			conns = append(conns, s.dial(t))
		}
		for _, conn := range conns {
			send(t, conn, hello)
		}
		for _, conn := range conns {
			if _, err := io.ReadFull(conn, make([]byte, len(answer))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
	})
}

// fifty is a balancer over fifty upstreams with a past.
func fifty() *Balancer {
	var members []Member
	for i := range 50 {
		record := health.NewRecord(health.Policy{Cooldown: cooldown, MaxInterval: time.Minute})
		record.Success(time.Now(), time.Duration(i+10)*ms)
		members = append(members, Member{
			Name: fmt.Sprint(i), Stream: &Path[transport.StreamDialer]{Health: record},
		})
	}
	return New(members, testOptions())
}

// Ten thousand flows in a second make a hundred looks at most.
func TestPickDoesNotAllocate(t *testing.T) {
	balancer, ctx := fifty(), t.Context()
	balancer.streams.pick(ctx, target, time.Now())
	if n := testing.AllocsPerRun(10_000, func() { balancer.streams.pick(ctx, target, time.Now()) }); n != 0 {
		t.Errorf("%v allocations for a choice among fifty upstreams, want 0", n)
	}
}

func BenchmarkPick(b *testing.B) {
	balancer, ctx := fifty(), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if p, _ := balancer.streams.pick(ctx, target, time.Now()); p == nil {
			b.Fatal("no path")
		}
	}
}

// BenchmarkLook is what a flow pays whose predecessor is a tenth of a second away.
func BenchmarkLook(b *testing.B) {
	balancer := fifty()
	b.ReportAllocs()
	for b.Loop() {
		balancer.streams.look(time.Now())
	}
}
