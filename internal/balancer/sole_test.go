package balancer

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

const post = "POST /order HTTP/1.1\r\nContent-Length: 1\r\n\r\n1"

// dying is a server that resets before anything comes.
func dying(conn *transporttest.PipeConn) { _ = conn.Abort() }

// reader reads from a flow all the while, as relay does.
type reader struct {
	got  strings.Builder
	done chan error
}

func startReader(conn io.Reader) *reader {
	r := &reader{done: make(chan error, 1)}
	go func() {
		_, err := io.Copy(&r.got, conn)
		r.done <- err
	}()
	return r
}

// What did not leave over the first path goes to one other path, however long that takes to answer.
func TestUnsentFlightIsSentOnce(t *testing.T) {
	inBubble(t, 4, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = dying
		for _, f := range s.ups[1:] {
			f.serve = f.answering(10 * time.Second)
		}
		conn := s.dial(t)
		synctest.Wait()
		send(t, conn, post)
		wantAnswer(t, conn, "b", 10*time.Second)
		for _, f := range s.ups[2:] {
			if got := f.received(); len(got) > 0 {
				t.Errorf("%s received %q too", f.name, got)
			}
		}
	})
}

// Whoever got an unsafe flight may have acted upon it, also in the place of the first path.
func TestUnsafeFlightIsLostWithItsRival(t *testing.T) {
	inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve, s.ups[1].serve = dying, s.ups[1].resetting
		conn := s.dial(t)
		synctest.Wait()
		send(t, conn, post)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Read() = %v, want a reset", err)
		}
		if n := s.ups[2].dialed(); n > 0 {
			t.Errorf("%d dials to a third upstream", n)
		}
	})
}

// A path that breaks before the client has sent anything costs nothing, whatever the client sends then, how
// much of it, and when.
func TestUnsafeFlightAfterTheFirstPathBroke(t *testing.T) {
	for name, wait := range map[string]time.Duration{"while a rival dials": 0, "to a rival": time.Second} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 3, testOptions(), func(t *testing.T, s *setup) {
				s.ups[0].serve = dying
				s.ups[1].dial = func(context.Context) error { time.Sleep(500 * ms); return nil }
				whole := "POST / HTTP/1.1\r\n\r\n" + strings.Repeat("x", 5*maxFlight)
				s.ups[1].serve = func(conn *transporttest.PipeConn) {
					got, err := io.ReadAll(conn)
					if string(got) != whole || err != nil {
						t.Errorf("received %d bytes, %v, want %d", len(got), err, len(whole))
					}
					_, _ = io.WriteString(conn, answer)
					_ = conn.CloseWrite()
				}
				conn := s.dial(t)
				r := startReader(conn)
				synctest.Wait()
				time.Sleep(wait)
				for part := range slices.Chunk([]byte(whole), 10_000) {
					send(t, conn, string(part))
				}
				if n := cap(conn.(*stream).flight); n > 2*maxFlight {
					t.Errorf("%d bytes are kept", n)
				}
				if err := conn.CloseWrite(); err != nil {
					t.Error(err)
				}
				if err := <-r.done; err != nil || r.got.String() != answer {
					t.Errorf("got %q, %v", r.got.String(), err)
				}
				if got := conn.(transport.Carried).Upstream(); got != "b" {
					t.Errorf("carried by %s", got)
				}
			})
		})
	}
}

// A write that waits for a rival ends with the flow, and when there is no rival any more.
func TestWriteThatWaitsForARivalEnds(t *testing.T) {
	for name, end := range map[string]func(s *setup, conn transport.StreamConn){
		"closed":   func(_ *setup, conn transport.StreamConn) { _ = conn.Close() },
		"deadline": func(_ *setup, conn transport.StreamConn) { _ = conn.SetWriteDeadline(time.Now()) },
		"failed":   func(*setup, transport.StreamConn) {},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
				s.ups[0].serve = dying
				s.ups[1].dial = func(context.Context) error {
					time.Sleep(3 * time.Second)
					return syscall.ECONNREFUSED
				}
				conn := s.dial(t)
				s.ups[0].dial = refuse
				startReader(conn)
				synctest.Wait()
				time.AfterFunc(time.Second, func() { end(s, conn) })
				if _, err := conn.Write(make([]byte, 2*maxFlight)); err == nil {
					t.Error("Write() = nil")
				}
			})
		})
	}
}
