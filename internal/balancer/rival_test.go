package balancer

import (
	"testing"
	"time"
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
