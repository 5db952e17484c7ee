package websocket

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// pong reads frames of the client until one is a pong, and returns its payload.
func (p *peer) pong(t *testing.T) string {
	t.Helper()
	for {
		f, err := p.frame()
		if err != nil {
			t.Fatalf("peer waits for a pong: %v", err)
		}
		if f.Header.OpCode == ws.OpPong {
			return string(f.Payload)
		}
	}
}

func TestPingsAreAnswered(t *testing.T) {
	for name, payload := range map[string]string{
		"empty": "", "short": "hello", "longest": strings.Repeat("p", maxControl),
	} {
		t.Run(name, func(t *testing.T) {
			carrier, p := newPair()
			s := NewStream(carrier, Options{})
			defer s.Close()
			_ = p.send(ws.NewPingFrame([]byte(payload)))
			_ = p.send(ws.NewBinaryFrame([]byte("x")))
			if _, err := s.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if got := p.pong(t); got != payload {
				t.Errorf("pong = %q, want %q", got, payload)
			}
		})
	}
}

// gate is a carrier whose writes block until they are let through or it is closed.
type gate struct {
	*transporttest.PipeConn
	entered chan struct{} // gets a value from every write that begins
	pass    chan struct{} // lets one write through
	closed  chan struct{}
	once    sync.Once
}

func newGatedPair() (*gate, *peer) {
	carrier, p := newPair()
	return &gate{
		PipeConn: carrier,
		entered:  make(chan struct{}, 1),
		pass:     make(chan struct{}, 16),
		closed:   make(chan struct{}),
	}, p
}

func (g *gate) Write(b []byte) (int, error) {
	g.entered <- struct{}{}
	select {
	case <-g.pass:
		return g.PipeConn.Write(b)
	case <-g.closed:
		return 0, net.ErrClosed
	}
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.PipeConn.Close()
}

func (g *gate) Abort() error {
	g.once.Do(func() { close(g.closed) })
	return g.PipeConn.Abort()
}

// blockWrite starts a write and waits until it is blocked in the carrier.
func (g *gate) blockWrite(s *Stream) <-chan error {
	wrote := make(chan error, 1)
	go func() {
		_, err := s.Write([]byte("upload"))
		wrote <- err
	}()
	<-g.entered
	return wrote
}

// readByte reads the one byte that p sends after all else, so everything before it has been seen.
func readByte(t *testing.T, s *Stream, p *peer) {
	t.Helper()
	_ = p.send(ws.NewBinaryFrame([]byte("x")))
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		t.Fatalf("read behind pings = %v, want a byte", err)
	}
}

// While a write is blocked, because the peer waits for us to read first, reading goes on and pings wait.
func TestPingWhileWriteIsBlocked(t *testing.T) {
	g, p := newGatedPair()
	s := NewStream(g, Options{PingAfter: -1})
	wrote := g.blockWrite(s)
	_ = p.send(ws.NewPingFrame([]byte("1")))
	_ = p.send(ws.NewPingFrame([]byte("2")))
	readByte(t, s, p)
	for range 3 { // the write, and one or two pongs
		g.pass <- struct{}{}
	}
	if err := <-wrote; err != nil {
		t.Errorf("write = %v, want nil", err)
	}
	<-g.entered
	// The goroutine that answers took the first ping before the second came, or only the second.
	if pong := p.pong(t); pong == "1" {
		<-g.entered
		pong = p.pong(t)
		if pong != "2" {
			t.Errorf("last pong = %q, want the latest", pong)
		}
	}
	_ = s.Abort()
}

// A peer that pings without end and takes nothing costs one goroutine and one payload.
func TestFloodOfPings(t *testing.T) {
	g, p := newGatedPair()
	s := NewStream(g, Options{PingAfter: -1})
	wrote := g.blockWrite(s)
	before := runtime.NumGoroutine()
	for i := range 1000 {
		_ = p.send(ws.NewPingFrame([]byte(strconv.Itoa(i))))
	}
	readByte(t, s, p)
	if more := runtime.NumGoroutine() - before; more > 1 {
		t.Errorf("1000 pings started %d goroutines, want 1", more)
	}
	s.mu.Lock()
	pending := string(s.pong)
	s.mu.Unlock()
	if pending != "999" {
		t.Errorf("pong to send = %q, want the latest, 999", pending)
	}
	_ = s.Abort()
	<-wrote
}

// Close does not wait for a peer that takes nothing, and ends the goroutine that answers pings.
func TestCloseWhilePongIsBlocked(t *testing.T) {
	for name, end := range map[string]func(s *Stream) error{
		"Close": (*Stream).Close,
		"Abort": (*Stream).Abort,
	} {
		t.Run(name, func(t *testing.T) {
			g, p := newGatedPair()
			s := NewStream(g, Options{PingAfter: -1})
			wrote := g.blockWrite(s)
			_ = p.send(ws.NewPingFrame(nil))
			readByte(t, s, p)
			began := time.Now()
			if err := end(s); err != nil {
				t.Errorf("%s() = %v, want nil", name, err)
			}
			if took := time.Since(began); took > closePatience/2 {
				t.Errorf("%s() took %v, want nearly none", name, took)
			}
			if err := <-wrote; !errors.Is(err, net.ErrClosed) {
				t.Errorf("write = %v, want %v", err, net.ErrClosed)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.pong != nil {
				t.Error("the goroutine that answers pings has not ended")
			}
		})
	}
}

// Pings that come after our Close frame stay without an answer.
func TestPingAfterCloseWrite(t *testing.T) {
	carrier, p := newPair()
	s := NewStream(carrier, Options{})
	_ = s.CloseWrite()
	_ = p.send(ws.NewPingFrame([]byte("still there?")))
	_, _ = p.Write([]byte("answer"))
	_ = p.CloseWrite()
	if got, err := io.ReadAll(s); string(got) != "answer" || err != nil {
		t.Errorf("read = %q, %v, want the answer", got, err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
	wantOneClose(t, p.frames(t))
}

// A deadline for reading, whenever it passes, neither loses a byte nor answers a ping twice.
func TestReadDeadlineAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		carrier, p := newPair()
		s := NewStream(carrier, Options{PingAfter: -1})
		script := wire(frame(pingFrame, "ping"), frame(binaryBegin, strings.Repeat("a", 130)),
			frame(lastOfMany, "z"))
		go func() {
			for _, b := range script {
				time.Sleep(2 * time.Second) // synthetic time: the reader's deadline passes in between
				_, _ = p.StreamConn.Write([]byte{b})
			}
		}()
		var got []byte
		timeouts := 0
		for len(got) < 131 {
			_ = s.SetReadDeadline(time.Now().Add(time.Second))
			var b [64]byte
			n, err := s.Read(b[:])
			if got = append(got, b[:n]...); errors.Is(err, os.ErrDeadlineExceeded) {
				timeouts++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if want := strings.Repeat("a", 130) + "z"; string(got) != want {
			t.Errorf("read = %q, want %q", got, want)
		}
		if timeouts < len(script) {
			t.Errorf("%d deadlines passed, want one before each of %d bytes", timeouts, len(script))
		}
		if pong := p.pong(t); pong != "ping" {
			t.Errorf("pong = %q, want ping", pong)
		}
		_ = s.Close()
		wantOneClose(t, p.frames(t))
	})
}
