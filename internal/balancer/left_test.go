package balancer

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestCloseOld(t *testing.T) {
	for _, closeOld := range []bool{false, true} {
		o := testOptions()
		o.CloseOld = closeOld
		inBubble(t, 2, o, func(t *testing.T, s *setup) {
			s.ups[0].serve, s.ups[1].serve = s.ups[0].answering(0), s.ups[1].answering(0)
			old, closed := s.dial(t), s.dial(t)
			send(t, old, hello)
			wantAnswer(t, old, "a", 0)
			_ = closed.Close()
			s.ups[0].record.FlowFailed(time.Now(), syscall.ECONNRESET)
			fresh := s.dial(t)
			send(t, fresh, hello)
			wantAnswer(t, fresh, "b", 0)
			send(t, old, "a flow that failed is no proof that this one is dead")
			for range 2 {
				s.ups[0].record.Failure(time.Now(), syscall.ECONNREFUSED)
			}
			s.streams.tend(time.Now())
			_, err := old.Write([]byte("x"))
			if broken := err != nil; broken != closeOld {
				t.Errorf("close_old %v: write on the old flow = %v", closeOld, err)
			}
			if n := len(s.streams.lineup.Load().paths[1].flows); n != 1 {
				t.Errorf("%d flows on the new upstream, want 1", n)
			}
		})
	}
}

// Two targets that stay silent cost their upstream its place, and no other flow its life.
func TestCloseOldSparesTheLiving(t *testing.T) {
	o := testOptions()
	o.CloseOld = true
	inBubble(t, 2, o, func(t *testing.T, s *setup) {
		s.ups[0].serve = s.ups[0].answering(0)
		old := s.dial(t)
		send(t, old, hello)
		wantAnswer(t, old, "a", 0)
		for _, silent := range []string{"one:22", "two:22"} {
			s.ups[0].record.Stalled(time.Now(), silent)
		}
		if got := s.dial(t).(transport.Carried).Upstream(); got != "b" {
			t.Errorf("the next flow is on %s, want b", got)
		}
		send(t, old, "still there")
		if got := s.ups[0].received(); got[0] != hello || got[1] != "still there" {
			t.Errorf("received %q", got)
		}
	})
}

// A flow without an answer yet is not reset when its upstream goes down: it moves, if it may.
func TestCloseOldMovesTheUnanswered(t *testing.T) {
	o := testOptions()
	o.CloseOld = true
	inBubble(t, 2, o, func(t *testing.T, s *setup) {
		s.ups[1].serve = s.ups[1].answering(0)
		safe, unsafe := s.dial(t), s.dial(t)
		send(t, safe, hello)
		send(t, unsafe, "POST / HTTP/1.1\r\n\r\n")
		time.AfterFunc(100*ms, func() {
			for range 2 {
				s.ups[0].record.Failure(time.Now(), syscall.ECONNREFUSED)
			}
			s.streams.tend(time.Now())
		})
		wantAnswer(t, safe, "b", 100*ms)
		if _, err := unsafe.Read(make([]byte, 1)); !errors.Is(err, errDown) {
			t.Errorf("Read() of a flow that may not move = %v, want %v", err, errDown)
		}
	})
}

// A client that waits for its server to speak first does not wait for a server behind a silent upstream.
func TestServerThatSpeaksFirst(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[1].serve = greet
		conn := s.dial(t)
		time.AfterFunc(time.Minute, func() {
			s.ups[0].record.FlowFailed(time.Now(), syscall.ECONNRESET)
			s.streams.tend(time.Now())
		})
		wantAnswer(t, conn, "b", time.Minute)
	})
}

// A path that had no time to be silent is not blamed when another one is faster.
func TestPathThatIsLeftIsNotBlamed(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[1].serve = func(conn *transporttest.PipeConn) {
			time.Sleep(500 * ms)
			greet(conn)
		}
		conn := s.dial(t)
		s.ups[0].record.FlowFailed(time.Now(), syscall.ECONNRESET)
		before := s.ups[0].record.Status(time.Now()).CoolUntil
		s.streams.tend(time.Now())
		wantAnswer(t, conn, "b", 500*ms)
		if after := s.ups[0].record.Status(time.Now()).CoolUntil; after != before {
			t.Errorf("it cools for %v longer", after.Sub(before))
		}
	})
}
