package balancer

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestWishesAndTheChoice(t *testing.T) {
	preferred, drained := view{wish: Preferred, score: time.Second}, view{wish: Drained, score: ms}
	tests := map[string]struct {
		views []view
		want  int
		why   Reason
	}{
		"preferred at once, whatever the scores": {[]view{{score: ms}, preferred}, 1, ReasonSelected},
		"preferred and down": {
			[]view{{score: ms}, {wish: Preferred, rank: down}}, 0, "",
		},
		"preferred and cooling": {
			[]view{{score: ms}, {wish: Preferred, rank: recovered}}, 0, "",
		},
		"drained at once":                   {[]view{drained, {score: time.Second}}, 1, ReasonDrained},
		"drained, and the other one down":   {[]view{drained, {rank: down}}, 1, ReasonDrained},
		"drained, and another preferred":    {[]view{drained, {score: ms}, preferred}, 2, ReasonDrained},
		"rather down than to a drained one": {[]view{{rank: down}, drained}, 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, why := choice{current: 0, since: start}.next(start.Add(time.Second), tt.views, usual)
			if c.current != tt.want || why != tt.why {
				t.Errorf("current = %d, %q, want %d, %q", c.current, why, tt.want, tt.why)
			}
		})
	}
}

func TestPreferredUpstream(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		by := func() string { return s.dial(t).(transport.Carried).Upstream() }
		if first := by(); first != "a" {
			t.Fatalf("carried by %s", first)
		}
		if err := s.Wish("c", Preferred); err != nil || by() != "c" {
			t.Fatalf("c is preferred: %v", err)
		}
		if d := s.Decisions(); d[len(d)-1].Reason != ReasonSelected {
			t.Errorf("last decision = %+v", d[len(d)-1])
		}
		s.ups[2].dial = refuse
		if got := by(); got != "a" {
			t.Errorf("c refuses: carried by %s", got)
		}
		s.ups[2].dial = nil
		time.Sleep(cooldown)
		if got := by(); got != "c" {
			t.Errorf("c works again: carried by %s", got)
		}
		if err := s.Wish("b", Preferred); err != nil || by() != "b" {
			t.Errorf("b is preferred instead of c: %v", err)
		}
		s.wantWishes(t, NoWish, Preferred, NoWish)
		if err := s.Wish("b", NoWish); err != nil {
			t.Error(err)
		}
		s.wantWishes(t, NoWish, NoWish, NoWish)
	})
}

func (s *setup) wantWishes(t *testing.T, want ...Wish) {
	t.Helper()
	var got []Wish
	for _, p := range s.Paths(time.Now()) {
		got = append(got, p.Wish)
	}
	if !slices.Equal(got, want) {
		t.Errorf("wishes = %v, want %v", got, want)
	}
}

func TestDrainedUpstream(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve, s.ups[1].serve = s.ups[0].answering(0), s.ups[1].answering(0)
		before := s.dial(t)
		if err := s.Wish("a", Drained); err != nil {
			t.Fatal(err)
		}
		s.ups[1].dial = refuse
		if _, err := s.DialStream(t.Context(), target); !errors.Is(err, ErrNoUpstream) {
			t.Errorf("dial = %v although a is drained and b refuses", err)
		}
		send(t, before, "hello")
		wantAnswer(t, before, "a", 0) // flows from before go on
		if err := s.Wish("b", Drained); !errors.Is(err, ErrLastMember) {
			t.Errorf("drain of the last one = %v", err)
		}
		if err := s.Wish("x", Drained); !errors.Is(err, ErrUnknownMember) {
			t.Errorf("drain of nobody = %v", err)
		}
		if err := s.Wish("a", NoWish); err != nil {
			t.Fatal(err)
		}
		if got := s.dial(t).(transport.Carried).Upstream(); got != "a" {
			t.Errorf("a is enabled again: carried by %s", got)
		}
	})
}

func TestWishesAndAffinity(t *testing.T) {
	o := testOptions()
	o.Affinity = TargetAffinity
	inBubble(t, 2, o, func(t *testing.T, s *setup) {
		by := func() string { return s.dial(t).(transport.Carried).Upstream() }
		if got := by(); got != "a" {
			t.Fatalf("carried by %s", got)
		}
		if err := s.Wish("b", Preferred); err != nil || by() != "b" {
			t.Errorf("affinity is stronger than a wish: %v", err)
		}
		if err := errors.Join(s.Wish("b", NoWish), s.Wish("b", Drained)); err != nil || by() != "a" {
			t.Errorf("affinity leads to a drained upstream: %v", err)
		}
	})
}

// TestWishesOutliveAnUpdate for as long as they leave an upstream to use.
func TestWishesOutliveAnUpdate(t *testing.T) {
	member := func(name string) Member {
		record := health.NewRecord(health.Policy{})
		return Member{Name: name, Stream: &Path[transport.StreamDialer]{Health: record}}
	}
	b := New([]Member{member("a"), member("b")}, testOptions())
	defer b.Close()
	if err := b.Wish("a", Drained); err != nil {
		t.Fatal(err)
	}
	b.Update([]Member{member("a"), member("c")}, testOptions()) // another server under its name
	if got := b.Paths(time.Now())[0].Wish; got != Drained {
		t.Errorf("wish = %v, want it to stay with the name", got)
	}
	b.Update([]Member{member("a")}, testOptions())
	if got := b.Paths(time.Now())[0].Wish; got != NoWish {
		t.Errorf("wish = %v, want none for the only one", got)
	}
}
