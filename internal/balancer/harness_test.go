package balancer

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ms       = time.Millisecond
	cooldown = 20 * time.Second
	target   = "target.example:443"
	hello    = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" // a TLS ClientHello of one byte
	answer   = "answer"
)

// fakeUpstream is a member over TCP whose server is a function.
type fakeUpstream struct {
	name   string
	record *health.Record
	// dial, if not nil, decides how a dial ends.
	dial func(ctx context.Context) error
	// serve is the server's side of a connection; nil takes everything and says nothing.
	serve func(conn *transporttest.PipeConn)

	mu      sync.Mutex
	dials   int
	got     []string // what was received, by connection
	keep    []int
	serving sync.WaitGroup
}

// DialStream implements transport.StreamDialer.
func (f *fakeUpstream) DialStream(ctx context.Context, _ string) (transport.StreamConn, error) {
	f.mu.Lock()
	f.dials++
	f.mu.Unlock()
	if f.dial != nil {
		if err := f.dial(ctx); err != nil {
			return nil, err
		}
	}
	near, far := transporttest.Pipe()
	f.serving.Go(func() {
		if f.serve != nil {
			f.serve(far)
			return
		}
		f.swallow(far)
	})
	return &waitable{StreamConn: near}, nil
}

// swallow notes what comes until the end.
func (f *fakeUpstream) swallow(conn *transporttest.PipeConn) {
	f.mu.Lock()
	place := len(f.got)
	f.got = append(f.got, "")
	f.mu.Unlock()
	buf := make([]byte, 1<<10)
	for {
		n, err := conn.Read(buf)
		f.mu.Lock()
		f.got[place] += string(buf[:n])
		f.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (f *fakeUpstream) received() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

func (f *fakeUpstream) dialed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

func (f *fakeUpstream) cooling() bool { return f.record.Status(time.Now()).Cooling }

// answering is a server that answers the first bytes after some time, notes all that comes, and ends when the
// client does.
func (f *fakeUpstream) answering(after time.Duration) func(*transporttest.PipeConn) {
	return func(conn *transporttest.PipeConn) {
		buf := make([]byte, 1<<10)
		n, err := conn.Read(buf)
		f.mu.Lock()
		f.got = append(f.got, string(buf[:n]))
		f.mu.Unlock()
		if err != nil && err != io.EOF { //nolint:errorlint // as a reader returns it
			return
		}
		time.Sleep(after)
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
		f.swallow(conn)
		_ = conn.CloseWrite()
	}
}

// resetting is a server that reads the first bytes and resets.
func (f *fakeUpstream) resetting(conn *transporttest.PipeConn) {
	_, _ = conn.Read(make([]byte, 1<<10))
	_ = conn.Abort()
}

// waitable can wait for data without a buffer.
type waitable struct {
	transport.StreamConn
	mu     sync.Mutex
	peeked []byte
}

func (w *waitable) WaitRead() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.peeked) > 0 {
		return nil
	}
	var one [1]byte
	n, err := w.StreamConn.Read(one[:])
	w.peeked = one[:n]
	return err
}

func (w *waitable) Abort() error { return transport.Abort(w.StreamConn) }

func (w *waitable) Read(p []byte) (int, error) {
	w.mu.Lock()
	if len(w.peeked) > 0 && len(p) > 0 {
		p[0], w.peeked = w.peeked[0], nil
		w.mu.Unlock()
		return 1, nil
	}
	w.mu.Unlock()
	return w.StreamConn.Read(p)
}

// Fallbacks that a test may change.
func testOptions() Options {
	return Options{
		StickyTTL: time.Minute, MinSwitch: 20 * ms,
		Failover: Failover{Silence: time.Second, Deadline: 15 * time.Second},
		Logger:   slog.New(slog.DiscardHandler),
	}
}

// setup is a balancer over fake upstreams with names of one letter, in a bubble of its own.
type setup struct {
	*Balancer
	ups     []*fakeUpstream
	conns   []transport.StreamConn
	trouble []int
}

// inBubble runs test with n upstreams.
func inBubble(t *testing.T, n int, o Options, test func(t *testing.T, s *setup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := new(setup)
		var mu sync.Mutex
		o.Trouble = func(record *health.Record) {
			mu.Lock()
			defer mu.Unlock()
			s.trouble = append(s.trouble, slices.IndexFunc(s.ups, func(f *fakeUpstream) bool {
				return f.record == record
			}))
		}
		var members []Member
		for i := range n {
			f := &fakeUpstream{
				name: string(rune('a' + i)),
				record: health.NewRecord(health.Policy{
					FailThreshold: 2, SuccessThreshold: 1, Cooldown: cooldown, MaxInterval: 30 * time.Second,
				}),
			}
			s.ups = append(s.ups, f)
			members = append(members, Member{
				Name: f.name, Weight: 1,
				Stream: &Path[transport.StreamDialer]{
					Dialer: f, Fresh: f, Health: f.record,
					Keep: func(n int) { f.keep = append(f.keep, n) },
				},
			})
		}
		s.Balancer = New(members, o)
		test(t, s)
		for _, conn := range s.conns {
			_ = transport.Abort(conn)
		}
		_ = s.Close()
		for _, f := range s.ups {
			f.serving.Wait()
		}
	})
}

// dial opens a flow, which ends with the bubble.
func (s *setup) dial(t *testing.T) transport.StreamConn {
	t.Helper()
	conn, err := s.DialStream(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	s.conns = append(s.conns, conn)
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// wantAnswer reads the answer, and checks which upstream gave it, and after what time.
func wantAnswer(t *testing.T, conn transport.StreamConn, by string, after time.Duration) {
	t.Helper()
	began := time.Now()
	buf := make([]byte, len(answer))
	if _, err := io.ReadFull(conn, buf); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took != after {
		t.Errorf("answer after %v, want %v", took, after)
	}
	if got := conn.(transport.Carried).Upstream(); got != by || string(buf) != answer {
		t.Errorf("%q from %s, want %q from %s", buf, got, answer, by)
	}
}

// refuse is how a dial to a closed port ends.
func refuse(context.Context) error { return syscall.ECONNREFUSED }

// blackhole is a dial that nothing answers.
func blackhole(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
