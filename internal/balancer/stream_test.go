package balancer

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestFlowStaysWhereItIsAnswered(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = s.ups[0].answering(300 * ms)
		conn := s.dial(t)
		send(t, conn, hello)
		wantAnswer(t, conn, "a", 300*ms)
		send(t, conn, "more")
		time.Sleep(time.Minute)
		if got := s.ups[0].received(); !slices.Equal(got, []string{hello, "more"}) {
			t.Errorf("received %q", got)
		}
		if s.ups[1].dialed() != 0 {
			t.Error("another upstream was dialed")
		}
	})
}

func TestResetBeforeTheAnswerMovesTheFlow(t *testing.T) {
	for name, first := range map[string]string{
		"TLS":     hello,
		"GET":     "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
				s.ups[0].serve = func(conn *transporttest.PipeConn) {
					if first != "" {
						s.ups[0].resetting(conn)
					}
					_ = conn.Abort()
				}
				s.ups[1].serve = s.ups[1].answering(0)
				conn := s.dial(t)
				if first != "" {
					send(t, conn, first)
				} else {
					s.ups[1].serve = greet
				}
				wantAnswer(t, conn, "b", 0)
				if first != "" && s.ups[1].received()[0] != first {
					t.Errorf("replayed %q, want %q", s.ups[1].received(), first)
				}
				if !s.ups[0].cooling() || s.ups[1].cooling() {
					t.Error("the one that failed should be cooling, and no other")
				}
				if s.dial(t).(transport.Carried).Upstream() != "b" {
					t.Error("the next flow did not start where this one ended")
				}
			})
		})
	}
}

// greet is a server that speaks first.
func greet(conn *transporttest.PipeConn) { _, _ = io.WriteString(conn, answer) }

// A request that may have taken effect is never sent twice.
func TestUnsafeFlightIsNotReplayed(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = s.ups[0].resetting
		conn := s.dial(t)
		send(t, conn, "POST /order HTTP/1.1\r\nContent-Length: 1\r\n\r\n1")
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read() = %v, want a reset", err)
		}
		if s.ups[1].dialed() != 0 {
			t.Error("another upstream was dialed")
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("second Read() = %v, want a reset", err)
		}
	})
}

func TestReplayAnyAndNever(t *testing.T) {
	for replay, want := range map[Replay]int{ReplayAny: 1, ReplayNever: 0} {
		o := testOptions()
		o.Failover.Replay = replay
		inBubble(t, 2, o, func(t *testing.T, s *setup) {
			s.ups[0].serve = s.ups[0].resetting
			s.ups[1].serve = s.ups[1].answering(0)
			conn := s.dial(t)
			send(t, conn, map[Replay]string{ReplayAny: "POST / HTTP/1.1\r\n\r\n", ReplayNever: hello}[replay])
			_, _ = conn.Read(make([]byte, 1))
			if got := s.ups[1].dialed(); got != want {
				t.Errorf("replay %d: %d dials to another upstream, want %d", replay, got, want)
			}
		})
	}
}

// What could not even be written was not received, whatever it is.
func TestUnsentFlightIsReplayed(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		dead := make(chan struct{})
		s.ups[0].serve = func(conn *transporttest.PipeConn) { _ = conn.Abort(); close(dead) }
		s.ups[1].serve = s.ups[1].answering(0)
		conn := s.dial(t)
		<-dead
		const post = "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
		send(t, conn, post)
		wantAnswer(t, conn, "b", 0)
		if got := s.ups[1].received()[0]; got != post {
			t.Errorf("replayed %q", got)
		}
	})
}

func TestSilenceBringsARival(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		s.ups[1].serve = s.ups[1].answering(100 * ms)
		conn := s.dial(t)
		send(t, conn, hello)
		wantAnswer(t, conn, "b", 1100*ms)
		if !s.ups[0].cooling() {
			t.Error("the silent upstream is not cooling")
		}
		send(t, conn, "more")
		if got := s.ups[1].received(); !slices.Equal(got, []string{hello, "more"}) {
			t.Errorf("received %q", got)
		}
	})
}

// A target that takes its time is no fault of an upstream.
// An upstream that cools is better than none once its probes pass: several may have failed one after another,
// and be there again.
func TestSilenceBringsARivalThatCools(t *testing.T) {
	for _, passed := range []bool{true, false} {
		inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
			s.ups[1].serve = s.ups[1].answering(0)
			s.ups[1].record.FlowFailed(time.Now(), syscall.ECONNRESET)
			time.Sleep(time.Second)
			if passed {
				s.ups[1].record.Success(time.Now(), ms)
			}
			conn := s.dial(t)
			send(t, conn, hello)
			if passed {
				wantAnswer(t, conn, "b", time.Second)
				return
			}
			time.Sleep(10 * time.Second)
			if s.ups[1].dialed() > 0 {
				t.Error("a flow was given to an upstream that is not known to work")
			}
		})
	}
}

// A flow on a silent upstream does not wait for ever for the others to come back, but for a while.
func TestRivalComesBack(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[1].serve = s.ups[1].answering(0)
		s.ups[1].record.FlowFailed(time.Now(), syscall.ECONNRESET)
		conn := s.dial(t)
		send(t, conn, hello)
		time.AfterFunc(4500*ms, func() { s.ups[1].record.Success(time.Now(), ms) })
		wantAnswer(t, conn, "b", 5*time.Second)
	})
}

func TestSlowTargetKeepsItsUpstream(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		for _, f := range s.ups {
			f.serve = f.answering(5 * time.Second)
		}
		conn := s.dial(t)
		send(t, conn, hello)
		wantAnswer(t, conn, "a", 5*time.Second)
		time.Sleep(time.Minute)
		for _, f := range s.ups {
			if f.cooling() {
				t.Errorf("%s is cooling", f.name)
			}
		}
		if got := s.ups[1].dialed() + s.ups[2].dialed(); got != 2 {
			t.Errorf("%d rivals, want 2", got)
		}
	})
}

// A plain request may be what a target takes its time for: other upstreams get it at growing distances.
func TestSlowRequestsAreRepeatedRarely(t *testing.T) {
	inBubble(t, 4, testOptions(), func(t *testing.T, s *setup) {
		conn := s.dial(t)
		send(t, conn, "GET / HTTP/1.1\r\n\r\n")
		dialed := func() (n int) {
			synctest.Wait()
			for _, f := range s.ups[1:] {
				n += f.dialed()
			}
			return n
		}
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{999 * ms, 0}, {ms, 1}, {3999 * ms, 1}, {ms, 2}, {time.Hour, 2}} {
			time.Sleep(step.after)
			if got := dialed(); got != step.want {
				t.Fatalf("%v later: %d other upstreams, want %d", step.after, got, step.want)
			}
		}
	})
}

// Two of three upstreams are black holes at once, and the request is answered all the same.
func TestTwoSilentUpstreams(t *testing.T) {
	for first, after := range map[string]time.Duration{
		hello: 2 * time.Second, "GET / HTTP/1.1\r\n\r\n": 5 * time.Second,
	} {
		inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
			s.ups[2].serve = s.ups[2].answering(0)
			conn := s.dial(t)
			send(t, conn, first)
			wantAnswer(t, conn, "c", after)
			if !s.ups[0].cooling() || !s.ups[1].cooling() || s.ups[2].cooling() {
				t.Error("those that were silent should be cooling, and no other")
			}
		})
	}
}

func TestHedge(t *testing.T) {
	o := testOptions()
	o.Failover.Hedge = 50 * ms
	inBubble(t, 2, o, func(t *testing.T, s *setup) {
		s.ups[0].serve = s.ups[0].answering(400 * ms)
		s.ups[1].serve = s.ups[1].answering(100 * ms)
		conn := s.dial(t)
		send(t, conn, hello)
		wantAnswer(t, conn, "b", 150*ms)
		if s.ups[0].cooling() {
			t.Error("an upstream cools because it was slower")
		}
	})
}

// All of a hello in two pieces reaches the rival, whenever the second piece comes.
func TestRivalGetsWhatComesLater(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[1].serve = func(conn *transporttest.PipeConn) {
			buf := make([]byte, len(hello))
			if _, err := io.ReadFull(conn, buf); err != nil {
				t.Error(err)
			}
			_, err := io.WriteString(conn, answer)
			rest, _ := io.ReadAll(conn)
			if string(buf)+string(rest) != hello+"more" || err != nil {
				t.Errorf("received %q and %q, %v", buf, rest, err)
			}
		}
		conn := s.dial(t)
		send(t, conn, hello[:7])
		time.Sleep(2 * time.Second)
		send(t, conn, hello[7:])
		wantAnswer(t, conn, "b", 0)
		send(t, conn, "more")
		if err := conn.CloseWrite(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// What a client writes at the very moment of the first answer is not lost, whoever gives it.
func TestWriteDuringTheFirstAnswer(t *testing.T) {
	for name, lead := range map[string]bool{"of the first upstream": true, "of a rival": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
				up := s.ups[1]
				if lead {
					up = s.ups[0]
				}
				now := make(chan struct{})
				up.serve = func(conn *transporttest.PipeConn) {
					<-now
					up.answering(0)(conn)
				}
				conn := s.dial(t)
				send(t, conn, hello)
				if !lead {
					time.Sleep(1250 * ms) // the rival has joined
				}
				synctest.Wait()
				st := conn.(*stream)
				st.mu.Lock()
				a := st.attempts[len(st.attempts)-1]
				st.mu.Unlock()
				a.mu.Lock() // the write gets no further than to be kept
				var writing sync.WaitGroup
				writing.Go(func() {
					send(t, conn, "\x14\x03\x03\x00\x01\x01")
					if err := conn.CloseWrite(); err != nil {
						t.Error(err)
					}
				})
				for kept := 0; kept == len(hello) || kept == 0; runtime.Gosched() {
					st.mu.Lock()
					kept = len(st.flight)
					st.mu.Unlock()
				}
				close(now)
				if _, err := io.ReadFull(conn, make([]byte, len(answer))); err != nil {
					t.Fatal(err)
				}
				a.mu.Unlock()
				writing.Wait()
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("Read() = %v, want EOF", err)
				}
				if got := strings.Join(up.received(), ""); got != hello+"\x14\x03\x03\x00\x01\x01" {
					t.Errorf("received %q", got)
				}
				if st.flight != nil {
					t.Error("the flight is kept for ever")
				}
			})
		})
	}
}

// A rival that has got something safe gets no more when something unsafe follows.
func TestUnsafeBytesEndTheRace(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		conn := s.dial(t)
		get := "GET / HTTP/1.1\r\n\r\n"
		send(t, conn, get)
		time.Sleep(1500 * ms)
		send(t, conn, "POST / HTTP/1.1\r\n\r\n")
		time.Sleep(time.Minute)
		if got := s.ups[1].received(); !slices.Equal(got, []string{get}) {
			t.Errorf("rival received %q", got)
		}
		if got := s.ups[0].received(); !slices.Equal(got, []string{get + "POST / HTTP/1.1\r\n\r\n"}) {
			t.Errorf("first received %q", got)
		}
	})
}

func TestHalfCloseIsReplayed(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = s.ups[0].resetting
		s.ups[1].serve = func(conn *transporttest.PipeConn) {
			if got, err := io.ReadAll(conn); string(got) != hello || err != nil {
				t.Errorf("received %q, %v", got, err)
			}
			_, _ = io.WriteString(conn, answer)
			_ = conn.CloseWrite()
		}
		conn := s.dial(t)
		send(t, conn, hello)
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, conn, "b", 0)
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Read() = %d, %v, want EOF", n, err)
		}
	})
}

// A flow that has sent more than is kept stays where it is.
func TestLongFlight(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		read := make(chan int, 1)
		s.ups[0].serve = func(conn *transporttest.PipeConn) {
			all, _ := io.ReadAll(conn)
			read <- len(all)
			_, _ = io.WriteString(conn, answer)
			_ = conn.CloseWrite()
		}
		conn := s.dial(t)
		long := "GET /" + strings.Repeat("x", maxFlight)
		for len(long) > 0 {
			n := min(10_000, len(long))
			send(t, conn, long[:n])
			long = long[n:]
		}
		time.Sleep(time.Minute)
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, conn, "a", 0)
		if n := <-read; n != maxFlight+5 {
			t.Errorf("received %d bytes, want %d", n, maxFlight+5)
		}
	})
}

// A sole upstream has another chance with a connection that was not there before.
func TestSoleUpstreamIsTriedAgain(t *testing.T) {
	for name, first := range map[string]func(*fakeUpstream, *transporttest.PipeConn){
		"after a reset":              (*fakeUpstream).resetting,
		"beside a silent connection": (*fakeUpstream).swallow,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, testOptions(), func(t *testing.T, s *setup) {
				f := s.ups[0]
				f.serve = func(conn *transporttest.PipeConn) {
					if f.dialed() == 1 {
						first(f, conn)
						return
					}
					f.answering(0)(conn)
				}
				conn := s.dial(t)
				send(t, conn, hello)
				buf := make([]byte, len(answer))
				if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != answer {
					t.Errorf("%q, %v", buf, err)
				}
				if f.cooling() {
					t.Error("it works, and is cooling")
				}
			})
		})
	}
}

func TestAllFail(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = s.ups[0].resetting
		s.ups[1].dial = refuse
		s.ups[2].serve = s.ups[2].resetting
		conn := s.dial(t)
		send(t, conn, hello)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read() = %v, want a reset", err)
		}
		if s.ups[0].cooling() || s.ups[2].cooling() {
			t.Error("one target's failure everywhere was taken for the upstreams'")
		}
		if !s.ups[1].cooling() {
			t.Error("an upstream that refuses is not cooling")
		}
	})
}

// The end of a target, clean or not, is the answer.
func TestTargetsEndIsNoFailure(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = func(conn *transporttest.PipeConn) {
			_, _ = conn.Read(make([]byte, 100))
			_ = conn.CloseWrite()
			_, _ = io.ReadAll(conn)
		}
		conn := s.dial(t)
		send(t, conn, hello)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("Read() = %v, want EOF", err)
		}
		if s.ups[1].dialed() != 0 || s.ups[0].cooling() {
			t.Error("the end of the target was taken for a failure")
		}
	})
}

func TestCloseEndsTheRace(t *testing.T) {
	for name, end := range map[string]func(conn transport.StreamConn) error{
		"close": transport.StreamConn.Close,
		"abort": func(conn transport.StreamConn) error { return transport.Abort(conn) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
				s.ups[1].dial = blackhole
				conn := s.dial(t)
				send(t, conn, hello)
				failed := make(chan error)
				go func() {
					_, err := conn.Read(make([]byte, 1))
					failed <- err
				}()
				time.Sleep(2500 * ms) // one rival dials, another waits
				if err := end(conn); err != nil {
					t.Error(err)
				}
				if err := <-failed; err == nil {
					t.Error("Read() succeeded")
				}
				if _, err := conn.Write([]byte("x")); err == nil {
					t.Error("Write() succeeded")
				}
			})
		})
	}
}

func TestDeadlines(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = s.ups[0].resetting
		s.ups[1].serve = s.ups[1].answering(3 * time.Second)
		conn := s.dial(t)
		send(t, conn, hello)
		began := time.Now()
		_ = conn.SetReadDeadline(began.Add(time.Second))
		_, err := conn.Read(make([]byte, 1))
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Second {
			t.Errorf("Read() = %v after %v", err, took)
		}
		_ = conn.SetReadDeadline(time.Time{})
		wantAnswer(t, conn, "b", 2*time.Second)
	})
}

func TestDeadlineOfTheFailover(t *testing.T) {
	o := testOptions()
	o.Failover.Deadline = 1500 * ms
	inBubble(t, 4, o, func(t *testing.T, s *setup) {
		conn := s.dial(t)
		send(t, conn, hello)
		time.Sleep(time.Minute)
		if got := s.ups[1].dialed() + s.ups[2].dialed() + s.ups[3].dialed(); got != 1 {
			t.Errorf("%d rivals, want 1", got)
		}
	})
}

// The time for the failover begins with the first bytes: browsers open connections ahead of need.
func TestDeadlineBeginsWithTheFirstBytes(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[1].serve = s.ups[1].answering(0)
		conn := s.dial(t)
		time.Sleep(time.Minute)
		send(t, conn, hello)
		wantAnswer(t, conn, "b", time.Second)
	})
}

// A flow that breaks after its first answer has its path probed.
func TestLateBreakIsTrouble(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = func(conn *transporttest.PipeConn) {
			_, _ = io.WriteString(conn, answer)
			time.Sleep(time.Second)
			_ = conn.Abort()
		}
		conn := s.dial(t)
		wantAnswer(t, conn, "a", 0)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read() = %v, want a reset", err)
		}
		if s.ups[0].cooling() || !slices.Equal(s.trouble, []int{0}) {
			t.Errorf("cooling %v, trouble %v", s.ups[0].cooling(), s.trouble)
		}
	})
}

// A balancer's stream passes what every stream must.
func TestConformance(t *testing.T) {
	transporttest.Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
		near, far := transporttest.TCPPair(t)
		d := dialerFunc(func(context.Context) (transport.StreamConn, error) {
			return &waitable{StreamConn: near}, nil
		})
		balancer := New([]Member{{Name: "a", Stream: &Path[transport.StreamDialer]{Dialer: d}}}, Options{})
		conn, err := balancer.DialStream(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		return conn, far
	})
}

type dialerFunc func(ctx context.Context) (transport.StreamConn, error)

func (f dialerFunc) DialStream(ctx context.Context, _ string) (transport.StreamConn, error) {
	return f(ctx)
}

// A settled flow costs nothing per chunk.
func TestSettledFlowDoesNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := transporttest.Pipe()
		d := dialerFunc(func(context.Context) (transport.StreamConn, error) { return near, nil })
		b := New([]Member{{Name: "a", Stream: &Path[transport.StreamDialer]{Dialer: d}}}, testOptions())
		conn, err := b.DialStream(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		send(t, conn, hello)
		_, _ = io.WriteString(far, answer)
		wantAnswer(t, conn, "a", 0)
		if w := conn.(*stream).winner.Load(); w == nil {
			t.Fatal("not settled")
		}
		if conn.(*stream).flight != nil {
			t.Error("the flight is kept")
		}
	})
}
