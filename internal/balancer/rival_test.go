package balancer

import (
	"context"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// A plain request waits for long until a third upstream gets it, but not for one that cannot be reached.
func TestRivalThatDoesNotConnect(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		s.ups[1].dial = blackhole
		s.ups[2].serve = s.ups[2].answering(0)
		conn := s.dial(t)
		send(t, conn, "GET / HTTP/1.1\r\n\r\n")
		wantAnswer(t, conn, "c", 2*time.Second)
	})
}

// Upstreams that refuse at once are not counted among those that are asked at a time.
func TestRivalsThatFailAreReplaced(t *testing.T) {
	inBubble(t, 6, testOptions(), func(t *testing.T, s *setup) {
		for _, f := range s.ups[1:4] {
			f.dial = refuse
		}
		s.ups[5].serve = s.ups[5].answering(0)
		conn := s.dial(t)
		send(t, conn, hello)
		wantAnswer(t, conn, "f", 2*time.Second)
	})
}

// A path is as slow as it is known to be, also as the second or the third one that is tried.
func TestSlowPathsHaveTheirTime(t *testing.T) {
	slow := func(s *setup) {
		for i, rtt := range []time.Duration{10 * ms, 400 * ms, 450 * ms} {
			s.ups[i].record.Success(time.Now(), rtt)
			s.ups[i].serve = s.ups[i].answering(0)
		}
	}
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		slow(s)
		s.ups[0].dial = refuse
		s.ups[1].dial = func(context.Context) error { time.Sleep(1500 * ms); return nil }
		if got := s.dial(t).(transport.Carried).Upstream(); got != "b" || s.ups[2].dialed() > 0 {
			t.Errorf("%s was reached, and c dialed %d times, want b alone", got, s.ups[2].dialed())
		}
	})
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		slow(s)
		s.ups[0].serve, s.ups[1].serve = nil, s.ups[1].answering(2*time.Second)
		conn := s.dial(t)
		send(t, conn, hello)
		wantAnswer(t, conn, "c", 2*time.Second)
		if !s.ups[0].cooling() || s.ups[1].cooling() {
			t.Error("the silent one should be cooling, and not the slow one")
		}
	})
}
