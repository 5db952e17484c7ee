package relay

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

var pairs = []struct {
	name string
	pair pairFunc
}{
	{"tcp", tcpPair},
	{"pipe", pipePair},
}

// A relay is a stream between its outer ends and must do what one does.
func TestStreamsConformance(t *testing.T) {
	for _, row := range pairs {
		t.Run(row.name, func(t *testing.T) {
			transporttest.Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
				c := converse(t.Context(), t, row.pair, Limits{})
				t.Cleanup(func() {
					_, _ = transport.Abort(c.app), transport.Abort(c.far)
					c.wait(t)
				})
				return c.app, c.far
			})
		})
	}
}

func TestStreamsHalfCloses(t *testing.T) {
	const size = 2 << 20
	rows := []struct {
		name  string
		order func(c *conversation) (first, second transport.StreamConn)
	}{
		{"client ends first", func(c *conversation) (_, _ transport.StreamConn) { return c.app, c.far }},
		{"target ends first", func(c *conversation) (_, _ transport.StreamConn) { return c.far, c.app }},
	}
	for _, row := range rows {
		for _, over := range pairs {
			t.Run(row.name+" over "+over.name, func(t *testing.T) {
				c := converse(t.Context(), t, over.pair, Limits{})
				first, second := row.order(c)
				want := payload(size)
				sendHalf(t, first, second, want)
				sendHalf(t, second, first, want)
				if got, want := c.wait(t), (Result{Sent: size, Received: size}); got != want {
					t.Errorf("Streams = %+v, want %+v", got, want)
				}
			})
		}
	}
}

// sendHalf sends one whole half and ends it.
func sendHalf(t *testing.T, from, to transport.StreamConn, want []byte) {
	t.Helper()
	got := readAll(to)
	mustWrite(t, from, want)
	if err := from.CloseWrite(); err != nil {
		t.Fatalf("CloseWrite() = %v, want nil", err)
	}
	if r := <-got; r.err != nil || !bytes.Equal(r.data, want) {
		t.Fatalf("half of %d bytes arrived as %d bytes, %v", len(want), len(r.data), r.err)
	}
}

func TestStreamsBothWaysAtOnce(t *testing.T) {
	const size = 2 << 20
	c := converse(t.Context(), t, tcpPair, Limits{})
	var both sync.WaitGroup
	both.Go(func() { sendHalf(t, c.app, c.far, payload(size)) })
	both.Go(func() { sendHalf(t, c.far, c.app, payload(size)) })
	both.Wait()
	if got, want := c.wait(t), (Result{Sent: size, Received: size}); got != want {
		t.Errorf("Streams = %+v, want %+v", got, want)
	}
}

func TestStreamsOfNothing(t *testing.T) {
	c := converse(t.Context(), t, tcpPair, Limits{})
	sendHalf(t, c.app, c.far, nil)
	sendHalf(t, c.far, c.app, nil)
	if got := c.wait(t); got != (Result{}) {
		t.Errorf("Streams = %+v, want the zero Result", got)
	}
}

// What a slow reader does not take stays with the sender, but for one buffer.
func TestStreamsBackPressure(t *testing.T) {
	const pipe = 64 << 10 // what one way of a Pipe holds
	rows := []struct {
		name string
		ends func(c *conversation) (fast, slow transport.StreamConn)
	}{
		{"upload", func(c *conversation) (_, _ transport.StreamConn) { return c.app, c.far }},
		{"download", func(c *conversation) (_, _ transport.StreamConn) { return c.far, c.app }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := converse(t.Context(), t, pipePair, Limits{})
				fast, slow := row.ends(c)
				var taken atomic.Int64
				go func() {
					for block := make([]byte, 1<<10); ; {
						n, err := fast.Write(block)
						taken.Add(int64(n))
						if err != nil {
							return
						}
					}
				}()
				synctest.Wait() // all is blocked
				if got := taken.Load(); got < pipe || got > 2*pipe+bufferSize {
					t.Errorf("sender got rid of %d bytes, want %d to %d", got, pipe, 2*pipe+bufferSize)
				}
				mustRead(t, slow, 1<<20) // and it goes on as soon as the reader does
				_, _ = transport.Abort(fast), transport.Abort(slow)
				c.wait(t)
			})
		})
	}
}

// Only a bare io.EOF is a clean end.
func TestStreamsBrokenTarget(t *testing.T) {
	rows := []struct {
		name string
		err  error
	}{
		{"cut in a chunk", io.ErrUnexpectedEOF},
		{"any error", errors.New("broken")},
		{"wrapped EOF", &wrapped{io.EOF}},
		{"closed", io.ErrClosedPipe},
	}
	for _, row := range rows {
		for _, answer := range []int{0, 5, 40_000} {
			t.Run(row.name, func(t *testing.T) {
				c := converseWith(t.Context(), t, tcpPair, &brokenReader{left: answer, err: row.err})
				got, err := io.ReadAll(c.app)
				if !bytes.Equal(got, make([]byte, len(got))) || len(got) > answer {
					t.Errorf("application read %d bytes, want at most %d zeros", len(got), answer)
				}
				if !isReset(err) {
					t.Errorf("application's read ended with %v, want a reset", err)
				}
				if r := c.wait(t); !errors.Is(r.Err, row.err) || r.Received != int64(answer) {
					t.Errorf("Streams = %+v, want Received %d and error %v", r, answer, row.err)
				}
			})
		}
	}
}
