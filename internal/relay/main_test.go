package relay

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// patience bounds what a test over real sockets waits for. No test that passes waits so long.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if servePeer() { // peer_test.go: this process is the far side of a benchmark
		return
	}
	goleak.VerifyTestMain(m)
}

// pairFunc makes a connected pair of streams.
type pairFunc func(t testing.TB) (a, b transport.StreamConn)

func tcpPair(t testing.TB) (a, b transport.StreamConn) { return transporttest.TCPPair(t) }

func pipePair(testing.TB) (a, b transport.StreamConn) { return transporttest.Pipe() }

// conversation is a relay at work. app is the application's end of the client's connection, far is the
// target's.
type conversation struct {
	app, far transport.StreamConn
	result   chan Result // gets the relay's result
}

// converse relays between two new pairs.
func converse(ctx context.Context, t testing.TB, pair pairFunc, l Limits) *conversation {
	app, client := pair(t)
	target, far := pair(t)
	c := &conversation{app: app, far: far}
	c.start(ctx, client, target, l)
	return c
}

// converseWith relays between the client of a new pair and target.
func converseWith(
	ctx context.Context, t testing.TB, pair pairFunc, target transport.StreamConn,
) *conversation {
	app, client := pair(t)
	c := &conversation{app: app}
	c.start(ctx, client, target, Limits{})
	return c
}

func (c *conversation) start(ctx context.Context, client, target transport.StreamConn, l Limits) {
	c.result = make(chan Result, 1)
	go func() { c.result <- Streams(ctx, client, target, l) }()
}

// wait returns the result. Inside a synctest bubble a relay that hangs is a deadlock, which is reported at
// once.
func (c *conversation) wait(t testing.TB) Result {
	t.Helper()
	select {
	case r := <-c.result:
		return r
	case <-time.After(1000 * patience):
		t.Fatal("Streams did not return")
		return Result{}
	}
}

// payload returns n bytes that look random and are the same every time.
func payload(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(p)
	return p
}

// read is what a reader got until its end.
type read struct {
	data []byte
	err  error // nil for EOF
}

// readAll reads to the end in the background.
func readAll(r io.Reader) <-chan read {
	done := make(chan read, 1)
	go func() {
		data, err := io.ReadAll(r)
		done <- read{data, err}
	}()
	return done
}

// wantReset demands that c's reader meets a reset, whatever comes before.
func wantReset(t testing.TB, name string, c io.Reader) {
	t.Helper()
	if data, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: read = %d bytes, %v, want %v", name, len(data), err, syscall.ECONNRESET)
	}
}

func mustWrite(t testing.TB, w io.Writer, p []byte) {
	t.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		t.Fatalf("write = %d, %v, want %d, nil", n, err, len(p))
	}
}

func mustRead(t testing.TB, r io.Reader, n int) {
	t.Helper()
	if m, err := io.ReadFull(r, make([]byte, n)); err != nil {
		t.Fatalf("read = %d, %v, want %d, nil", m, err, n)
	}
}
