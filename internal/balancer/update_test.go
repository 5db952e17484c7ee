package balancer

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// members of an update, by the names of the fake upstreams.
func (s *setup) members(gone func(name string), names ...string) (members []Member) {
	for _, f := range s.ups {
		if slices.Contains(names, f.name) {
			members = append(members, Member{Name: f.name, Stream: &Path[transport.StreamDialer]{
				Dialer: f, Health: f.record,
				Keep: func(n int) { f.keep = append(f.keep, n) },
				Gone: func() { gone(f.name) },
			}})
		}
	}
	return members
}

// renew makes the upstreams ones that the balancer does not know.
func (s *setup) renew() {
	for _, f := range s.ups {
		f.record = health.NewRecord(health.Policy{Cooldown: cooldown, MaxInterval: 30 * time.Second})
		f.keep = nil
	}
}

// Flows on an upstream that an update takes out go on to their end, and then it is gone.
func TestUpdateLetsFlowsFinish(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		var gone []string
		note := func(name string) { gone = append(gone, name) }
		s.renew()
		s.Update(s.members(note, "a", "b"), testOptions())
		for _, f := range s.ups {
			f.serve = f.answering(0)
		}
		old := s.dial(t)
		send(t, old, hello)
		wantAnswer(t, old, "a", 0)
		waiting := s.dial(t) // has no answer yet

		s.Update(s.members(note, "b", "c"), testOptions())
		send(t, old, "more")
		send(t, waiting, hello)
		wantAnswer(t, waiting, "a", 0)
		if got := s.dial(t).(transport.Carried).Upstream(); got != "b" {
			t.Errorf("a new flow goes over %s, want b", got)
		}
		if len(gone) > 0 {
			t.Errorf("%v gone under their flows", gone)
		}
		_ = old.Close()
		_ = waiting.Close()
		if !slices.Equal(gone, []string{"a"}) {
			t.Errorf("gone = %v, want a", gone)
		}
	})
}

// What stays keeps its place: the current path, its health and its homes.
func TestUpdateKeepsWhatStays(t *testing.T) {
	o := testOptions()
	o.Affinity = TargetAffinity
	inBubble(t, 3, o, func(t *testing.T, s *setup) {
		s.ups[1].record.Success(time.Now(), 10*ms)
		s.ups[2].record.Success(time.Now(), 5*time.Second)
		if got := s.dial(t).(transport.Carried).Upstream(); got != "b" {
			t.Fatalf("the best is %s, want b", got)
		}
		before := len(s.Decisions())
		for range 100 {
			s.Update(s.members(func(string) {}, "c", "b"), o)
			if got := s.dial(t).(transport.Carried).Upstream(); got != "b" {
				t.Fatalf("after an update: %s, want b", got)
			}
		}
		if got := len(s.Decisions()); got != before {
			t.Errorf("%d switches by updates that changed nothing", got-before)
		}
		s.Update(s.members(func(string) {}, "c"), o)
		if got := s.dial(t).(transport.Carried).Upstream(); got != "c" {
			t.Errorf("home of a target is %s after b was taken out, want c", got)
		}
		s.Update(nil, o)
		if _, err := s.DialStream(t.Context(), target); err == nil {
			t.Error("a flow was opened without upstreams")
		}
	})
}

// A dial that is under way when its upstream is taken out still becomes a flow.
func TestUpdateDuringADial(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		var gone []string
		note := func(name string) { gone = append(gone, name) }
		s.renew()
		s.ups[0].dial = func(context.Context) error { time.Sleep(500 * ms); return nil }
		s.ups[0].serve = s.ups[0].answering(0)
		s.Update(s.members(note, "a"), testOptions())
		go func() {
			time.Sleep(100 * ms)
			s.Update(s.members(note, "b"), testOptions())
		}()
		conn := s.dial(t)
		if len(gone) > 0 {
			t.Errorf("%v gone under a dial", gone)
		}
		send(t, conn, hello)
		wantAnswer(t, conn, "a", 0)
		_ = conn.Close()
		synctest.Wait()
		if !slices.Equal(gone, []string{"a"}) {
			t.Errorf("gone = %v, want a", gone)
		}
	})
}

// Everything at once, for the race detector.
func TestUpdateConcurrently(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		for _, f := range s.ups {
			f.serve = f.answering(ms)
			f.record.Success(time.Now(), ms)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { _ = s.Run(ctx); close(done) }()
		go func() {
			for i := range 200 {
				names := []string{"a", "b", "c"}
				s.Update(s.members(func(string) {}, names[i%3], names[(i+1)%3]), testOptions())
				time.Sleep(3 * ms)
			}
		}()
		for range 100 {
			conn := s.dial(t)
			send(t, conn, hello)
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			s.ups[0].record.Status(time.Now()).Score(1)
		}
		time.Sleep(time.Second)
		cancel()
		<-done
	})
}

func TestOwnRecords(t *testing.T) {
	b := New([]Member{{Name: "a", Stream: new(Path[transport.StreamDialer])}}, Options{})
	first := b.streams.lineup.Load().paths[0]
	b.Update([]Member{{Name: "b", Stream: new(Path[transport.StreamDialer])}}, Options{})
	second := b.streams.lineup.Load().paths[0]
	if first == second || first.Health == second.Health || second.Health == (*health.Record)(nil) {
		t.Error("paths without a record were taken for the same")
	}
}
