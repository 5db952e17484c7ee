package carrier

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// After a rush, streams that come one by one leave the sessions idle that are not needed any more.
func TestPoolLetsIdleSessionsRest(t *testing.T) {
	f := &fakeServer{room: 1000}
	inPool(t, f, func(t *testing.T, p *Pool) {
		for range 16 {
			p.open(t, 1)
			time.Sleep(dialTime)
			synctest.Wait()
		}
		for _, s := range f.sessions {
			s.set(func(s *fakeSession) { s.streams, s.idle = 0, time.Now() })
		}
		for range 4 * int(defaultIdle/time.Minute) { // for much longer than sessions may idle
			p.open(t, 2)
			time.Sleep(time.Minute)
			f.sessions[0].set(func(s *fakeSession) { s.streams = 1 })
		}
		if loads := f.loads(); !slices.Equal(loads, []int{1, 0, 0, 0}) {
			t.Errorf("streams of the sessions = %v, want [1 0 0 0]", loads)
		}
		for i, s := range f.sessions {
			if got, want := s.Ended(), i > 0; got != want {
				t.Errorf("session %d ended: %v, want %v", i, got, want)
			}
		}
	})
}

// Idle sessions are used when a few streams come at a time, and before a session has more than it should.
func TestPoolWakesIdleSessions(t *testing.T) {
	for _, tt := range []struct {
		streams, n int
		want       []int
	}{
		{streams: 4, n: 8, want: []int{4, 4}},
		{streams: 100, n: 5, want: []int{4, 1}},
		{streams: 1, n: 2, want: []int{1, 1}},
	} {
		f := &fakeServer{room: 1000}
		inPool(t, f, func(t *testing.T, p *Pool) {
			p.Spread = Spread{Streams: tt.streams, Conns: 2}
			f.sessions = []*fakeSession{{room: 1000}, {room: 1000}}
			for _, s := range f.sessions {
				p.sessions = append(p.sessions, pooled{Session: s})
			}
			p.open(t, tt.n)
			if loads := f.loads(); !slices.Equal(loads, tt.want) {
				t.Errorf("%d streams on sessions for %d each: %v, want %v", tt.n, tt.streams, loads, tt.want)
			}
		})
	}
}
