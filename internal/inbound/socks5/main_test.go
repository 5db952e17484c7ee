package socks5

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test, which fails then. Nothing waits that long in one that passes.
const patience = 10 * time.Second

// Pieces of the client's side of the wire.
const (
	helloOpen     = "\x05\x01\x00"
	helloPassword = "\x05\x01\x02"
	acceptOpen    = "\x05\x00"
	zeroAddr      = "\x01\x00\x00\x00\x00\x00\x00"
	succeeded     = "\x05\x00\x00" + zeroAddr
	failure       = "\x05\x01\x00" + zeroAddr
	badCommand    = "\x05\x07\x00" + zeroAddr
	badType       = "\x05\x08\x00" + zeroAddr
	exampleAddr   = "\x03\x0bexample.com\x00\x50"
	connectV4     = "\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50"
	connectName   = "\x05\x01\x00" + exampleAddr
	associateAny  = "\x05\x03\x00" + zeroAddr
)

// wire is a scripted peer.
type wire struct {
	net.Conn
	t *testing.T
}

func newWire(t *testing.T, c net.Conn) *wire {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &wire{c, t}
}

func (w *wire) send(s string) {
	w.t.Helper()
	if _, err := io.WriteString(w.Conn, s); err != nil {
		w.t.Fatalf("send %q: %v", s, err)
	}
}

func (w *wire) want(s string) {
	w.t.Helper()
	got := make([]byte, len(s))
	if n, err := io.ReadFull(w.Conn, got); err != nil || string(got) != s {
		w.t.Fatalf("received %q, %v, want %q", got[:n], err, s)
	}
}

// wantEnd: a clean end and nothing before it.
func (w *wire) wantEnd() {
	w.t.Helper()
	if got, err := io.ReadAll(w.Conn); err != nil || len(got) > 0 {
		w.t.Fatalf("received %q, %v, want a clean end", got, err)
	}
}

func (w *wire) closeWrite() {
	w.t.Helper()
	if err := w.Conn.(transport.StreamConn).CloseWrite(); err != nil {
		w.t.Fatal(err)
	}
}

// running is a server with its listeners and what the test may look at.
type running struct {
	*Server
	t       *testing.T
	address string
	log     *lockedBuffer
	seen    *ledger
	served  sync.WaitGroup
}

// start serves s on a loopback port and cuts what is left when the test ends.
func start(t *testing.T, s *Server) *running {
	t.Helper()
	return startOn(t, s, "127.0.0.1:0")
}

func startOn(t *testing.T, s *Server, address string) *running {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("no such listener here: %v", err)
	}
	r := &running{Server: s, t: t, address: l.Addr().String(), log: new(lockedBuffer), seen: newLedger()}
	s.Logger = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.Observer = r.seen
	r.serve(context.Background(), l)
	t.Cleanup(r.cut)
	return r
}

func (r *running) serve(ctx context.Context, l net.Listener) {
	r.served.Go(func() {
		if err := r.Serve(ctx, l); err != nil {
			r.t.Errorf("Serve = %v, want nil", err)
		}
	})
}

// cut resets what runs and waits for it.
func (r *running) cut() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.Shutdown(ctx)
	r.served.Wait()
}

func (r *running) dial() *wire {
	r.t.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	return newWire(r.t, c)
}

// wantLog waits for a line with all of the words: it is written after the client has seen the end.
func (r *running) wantLog(words ...string) {
	r.t.Helper()
	r.log.wait(r.t, func(line string) bool {
		for _, word := range words {
			if !strings.Contains(line, word) {
				return false
			}
		}
		return true
	}, words)
}

// lockedBuffer holds log lines.
type lockedBuffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // closed with the next write; nil while nobody waits
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return b.b.Write(p)
}

func (b *lockedBuffer) text() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.b.String(), b.changed
}

func (b *lockedBuffer) wait(t *testing.T, match func(line string) bool, words []string) {
	t.Helper()
	limit := time.After(patience)
	for {
		text, changed := b.text()
		for line := range strings.Lines(text) {
			if match(line) {
				return
			}
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("no log line with %q in:\n%s", words, text)
		}
	}
}

// ledger is an Observer whose events a test can wait for.
type ledger struct {
	mu     sync.Mutex
	counts map[string]int
	events chan string
}

func newLedger() *ledger {
	return &ledger{counts: make(map[string]int), events: make(chan string, 1024)}
}

func (l *ledger) note(event string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[event]++
	l.events <- event
}

func (l *ledger) FlowOpened(proto string)     { l.note("opened " + proto) }
func (l *ledger) FlowClosed(proto string)     { l.note("closed " + proto) }
func (l *ledger) PacketDropped(reason string) { l.note("dropped " + reason) }

// want waits for the next event.
func (l *ledger) want(t *testing.T, event string) {
	t.Helper()
	select {
	case got := <-l.events:
		if got != event {
			t.Fatalf("event %q, want %q", got, event)
		}
	case <-time.After(patience):
		t.Fatalf("no event, want %q", event)
	}
}
