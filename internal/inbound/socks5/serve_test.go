package socks5

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// pipeListener accepts connections in memory, and fails when told to.
type pipeListener struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{} // closed by Close
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{
		conns:  make(chan net.Conn, 64),
		errs:   make(chan error, 64),
		closed: make(chan struct{}),
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1080} }

func (l *pipeListener) dial() transport.StreamConn {
	near, far := transporttest.Pipe()
	l.conns <- far
	return near
}

// serving is a server inside a bubble.
type serving struct {
	*Server
	*pipeListener
	log    *bytes.Buffer // to be read when all is quiet
	result chan error    // what Serve returned
}

func serveInBubble(s *Server) *serving {
	r := &serving{s, newPipeListener(), new(bytes.Buffer), make(chan error, 1)}
	s.Logger = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() { r.result <- s.Serve(context.Background(), r.pipeListener) }()
	return r
}

// end stops the server and checks that Serve returns nil.
func (r *serving) end(t *testing.T) {
	t.Helper()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v, want nil", err)
	}
	if err := <-r.result; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

func TestSlowHandshake(t *testing.T) {
	tests := []struct{ name, says string }{
		{"silence", ""},
		{"one byte", "\x05"},
		{"no method", "\x05\x03\x00"},
		{"no request", helloOpen},
		{"half a request", helloOpen + connectName[:9]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := serveInBubble(&Server{})
				began := time.Now()
				c := r.dial()
				if _, err := io.WriteString(c, tt.says); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(c); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != handshakeLimit {
					t.Errorf("closed after %v, want %v", took, handshakeLimit)
				}
				r.end(t)
			})
		})
	}
}

// TestDrippingHandshake: the limit is one for the whole, not one for each byte.
func TestDrippingHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(&Server{})
		c := r.dial()
		began := time.Now()
		says := helloOpen + "\x05\x01\x00\x03\xff" + strings.Repeat("a", 255)
		for i := range len(says) {
			if _, err := io.WriteString(c, says[i:i+1]); err != nil {
				break
			}
			<-time.After(time.Second)
		}
		if took := time.Since(began); took < handshakeLimit || took > handshakeLimit+time.Second {
			t.Errorf("cut after %v, want about %v", took, handshakeLimit)
		}
		r.end(t)
	})
}

func TestWrongPasswordWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(&Server{Settings: Settings{Users: newUsers(t, "alice:secret")}})
		c := r.dial()
		began := time.Now()
		if _, err := io.WriteString(c, helloPassword+"\x01\x07mallory\x06s3cr3t"); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 4)
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "\x05\x02\x01\x01" {
			t.Fatalf("received %q, %v, want a failed login", answer, err)
		}
		if took := time.Since(began); took != passwordDelay {
			t.Errorf("answer after %v, want %v", took, passwordDelay)
		}
		// A client that does not go away is sent away.
		r.end(t)
		if took := time.Since(began); took != passwordDelay+farewellLimit {
			t.Errorf("closed after %v, want %v", took, passwordDelay+farewellLimit)
		}
		log := r.log.String()
		if !strings.Contains(log, `level=WARN msg="authentication failed"`) {
			t.Errorf("no warning in the log:\n%s", log)
		}
		if strings.Contains(log, "mallory") || strings.Contains(log, "s3cr3t") {
			t.Errorf("the log tells the guess:\n%s", log)
		}
	})
}

// TestFarewellIsBounded: a refused client that sends for ever is cut.
func TestFarewellIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(&Server{})
		c := r.dial()
		sent, err := 0, error(nil)
		for err == nil {
			var n int
			n, err = io.WriteString(c, strings.Repeat("GET / ", 1000))
			sent += n
		}
		if limit := 4 * farewellBytes; sent > limit {
			t.Errorf("a refused client could send %d bytes, want at most %d", sent, limit)
		}
		r.end(t)
	})
}

func TestDialLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := dialFunc(func(ctx context.Context, _ string) (transport.StreamConn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		r := serveInBubble(&Server{Settings: Settings{Stream: stuck}})
		c := r.dial()
		began := time.Now()
		if _, err := io.WriteString(c, helloOpen+connectName); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, len(acceptOpen+succeeded))
		if _, err := io.ReadFull(c, answer); err != nil || answer[len(acceptOpen)+1] != replyTimeout {
			t.Errorf("received %q, %v, want reply 6", answer, err)
		}
		if took := time.Since(began); took != dialLimit {
			t.Errorf("reply after %v, want %v", took, dialLimit)
		}
		c.Close()
		r.end(t)
	})
}

// TestAcceptBacksOff: trouble at the door is logged once, and does not end the server.
func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(&Server{})
		for range 12 {
			r.errs <- syscall.EMFILE
		}
		<-time.After(time.Minute)
		c := r.dial()
		if _, err := io.WriteString(c, helloOpen); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 2)
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) != acceptOpen {
			t.Errorf("after the trouble a client receives %q, %v, want %q", answer, err, acceptOpen)
		}
		c.Close()
		r.end(t)
		if got := strings.Count(r.log.String(), `level=WARN msg="accept failed"`); got != 1 {
			t.Errorf("%d log lines about failed accepts, want 1:\n%s", got, r.log)
		}
	})
}

// failingListener only fails, and notes when it was asked.
type failingListener struct {
	*pipeListener
	asked []time.Time
	stop  func()
}

func (l *failingListener) Accept() (net.Conn, error) {
	l.asked = append(l.asked, time.Now())
	if len(l.asked) == 11 {
		l.stop()
	}
	return nil, syscall.EMFILE
}

func TestAcceptPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &failingListener{pipeListener: newPipeListener(), stop: cancel}
		s := new(Server)
		if err := s.Serve(ctx, l); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		want := 5 * time.Millisecond
		for i := 1; i < len(l.asked); i++ {
			if got := l.asked[i].Sub(l.asked[i-1]); got != want {
				t.Errorf("pause %d = %v, want %v", i, got, want)
			}
			want = min(2*want, time.Second)
		}
	})
}

// TestShutdownWakesThePause: a listener in trouble does not hold the end up.
func TestShutdownWakesThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(&Server{})
		for range 10 {
			r.errs <- syscall.EMFILE
		}
		<-time.After(1300 * time.Millisecond) // within a pause of a second
		began := time.Now()
		r.end(t)
		if took := time.Since(began); took != 0 {
			t.Errorf("Serve returned after %v, want at once", took)
		}
	})
}

func TestMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(&Server{MaxConns: 2})
		first, second := r.dial(), r.dial()
		synctest.Wait()
		for range 3 { // closed at once, and one line for all
			if n, err := r.dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("connection over the limit reads %d, %v, want EOF", n, err)
			}
		}
		first.Close()
		synctest.Wait()
		third := r.dial()
		if _, err := io.WriteString(third, helloOpen); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 2)
		if _, err := io.ReadFull(third, answer); err != nil || string(answer) != acceptOpen {
			t.Errorf("connection below the limit receives %q, %v, want %q", answer, err, acceptOpen)
		}
		second.Close()
		third.Close()
		r.end(t)
		if got := strings.Count(r.log.String(), errFull.Error()); got != 1 {
			t.Errorf("%d log lines about the limit, want 1:\n%s", got, r.log)
		}
		if got := r.Refused(); got != 3 {
			t.Errorf("Refused() = %d, want 3", got)
		}
	})
}

// TestServeNeedsHalfClose: a connection of another kind is closed, the server goes on.
func TestServeNeedsHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(&Server{})
		near, far := net.Pipe()
		r.conns <- far
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("Read = %v, want EOF", err)
		}
		r.end(t)
	})
}
