package transporttest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTCPConforms(t *testing.T) {
	Conformance(t, func(t *testing.T) (transport.StreamConn, transport.StreamConn) {
		a, b := TCPPair(t)
		return a, b
	})
}

// The optional interfaces over TCP, in the simplest form that is right.
func TestTCPWithOptionalInterfacesConforms(t *testing.T) {
	Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
		local, far := TCPPair(t)
		return newComplete(local), far
	})
}

// complete is a TCP connection with headroom, all of which it overwrites, and with WaitRead.
type complete struct {
	transport.StreamConn // not *net.TCPConn, whose WriteTo would bypass Read
	ahead                *bufio.Reader
	room                 transport.Headroom
}

func newComplete(c *net.TCPConn) *complete {
	room := transport.Headroom{Front: 7, Back: 3, Max: 1000}
	return &complete{StreamConn: c, ahead: bufio.NewReader(c), room: room}
}

func (c *complete) Read(p []byte) (int, error)   { return c.ahead.Read(p) }
func (c *complete) Abort() error                 { return transport.Abort(c.StreamConn) }
func (c *complete) Headroom() transport.Headroom { return c.room }

func (c *complete) WriteHeadroom(buf []byte, front, back int) error {
	_, err := c.Write(buf[front : len(buf)-back])
	for i := front - c.room.Front; i < len(buf)-back+c.room.Back; i++ {
		buf[i] = 0xff
	}
	return err
}

func (c *complete) WaitRead() error {
	_, err := c.ahead.Peek(1)
	return err
}

// faulty is a TCP connection whose methods a test replaces one by one.
type faulty struct {
	*complete
	read            func([]byte) (int, error)
	write           func([]byte) (int, error)
	closeWrite      func() error
	close           func() error
	setReadDeadline func(time.Time) error
	localAddr       func() net.Addr
	writeHeadroom   func(buf []byte, front, back int) error
	waitRead        func() error
}

func newFaulty(c *net.TCPConn) *faulty {
	f := &faulty{complete: newComplete(c)}
	f.read, f.write, f.closeWrite, f.close = f.complete.Read, c.Write, c.CloseWrite, c.Close
	f.setReadDeadline, f.localAddr = c.SetReadDeadline, c.LocalAddr
	f.writeHeadroom, f.waitRead = f.complete.WriteHeadroom, f.complete.WaitRead
	return f
}

func (f *faulty) Read(p []byte) (int, error)             { return f.read(p) }
func (f *faulty) Write(p []byte) (int, error)            { return f.write(p) }
func (f *faulty) CloseWrite() error                      { return f.closeWrite() }
func (f *faulty) Close() error                           { return f.close() }
func (f *faulty) SetReadDeadline(at time.Time) error     { return f.setReadDeadline(at) }
func (f *faulty) LocalAddr() net.Addr                    { return f.localAddr() }
func (f *faulty) WriteHeadroom(b []byte, n, m int) error { return f.writeHeadroom(b, n, m) }
func (f *faulty) WaitRead() error                        { return f.waitRead() }

func TestConformanceFindsFaults(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(f *faulty)
		check string // that must fail
		want  string // in its error
	}{
		{"read turns every error into EOF", readEndsCleanly, "abort of b", "want one that is not EOF"},
		{"read turns close into EOF", readEndsCleanly, "close during a read", "want one that is not EOF"},
		{"read turns a timeout into EOF", readEndsCleanly, "read deadline in the past", "Timeout"},
		{"read flips a bit late in the stream", readFlips, "data from b to a", "first difference is at byte"},
		{"read forgets EOF", readForgetsEnd, "b ends its half first", "read after EOF"},
		{"write keeps its argument", writeKeeps, "write and its argument", "hangs"},
		{"write changes its argument", writeChanges, "write and its argument", "changed"},
		{"empty write is an end", emptyWriteEnds, "data from a to b", "1 bytes: "},
		{"write counts short", writeCountsShort, "data from a to b", "without an error"},
		{"CloseWrite closes both halves", closeWriteCloses, "a ends its half first", "from b"},
		{"CloseWrite does nothing", closeWriteIdle, "a ends its half first", "hangs"},
		{"CloseWrite does nothing, then write", closeWriteIdle, "write after CloseWrite", "hangs"},
		{"close does nothing", func(f *faulty) { f.close = nothing }, "close during a write", "hangs"},
		{"close twice panics", closePanics, "close twice", "close of closed channel"},
		{"deadlines do nothing", deadlinesIdle, "read deadline in the future", "hangs"},
		{"no address", noAddress, "addresses", "LocalAddr() = nil"},
		{"headroom is overrun", headroomOverrun, "write with headroom", "behind the buffer"},
		{"headroom sends its header's room", headroomAll, "write with headroom", "difference"},
		{"wait does not wait", func(f *faulty) { f.waitRead = nothing }, "wait for data", "want it to block"},
		{"wait says EOF on abort", waitSaysEOF, "wait until abort of b", "want one that is not EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := TCPPair(t)
			f := newFaulty(a)
			tt.spoil(f)
			err := byName(t, tt.check).examine(f, b, 300*time.Millisecond)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("check %q = %v, want an error with %q", tt.check, err, tt.want)
			}
		})
	}
}

func byName(t *testing.T, name string) check {
	t.Helper()
	i := slices.IndexFunc(checks(), func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("no check named %q", name)
	}
	return checks()[i]
}

func nothing() error { return nil }

func closeWriteCloses(f *faulty) { f.closeWrite = f.Close }

func closeWriteIdle(f *faulty) { f.closeWrite = nothing }

func deadlinesIdle(f *faulty) { f.setReadDeadline = func(time.Time) error { return nil } }

func noAddress(f *faulty) { f.localAddr = func() net.Addr { return nil } }

func readEndsCleanly(f *faulty) {
	f.read = func(p []byte) (int, error) {
		n, err := f.complete.Read(p)
		if err != nil {
			err = io.EOF
		}
		return n, err
	}
}

func readFlips(f *faulty) {
	total := 0
	f.read = func(p []byte) (int, error) {
		n, err := f.complete.Read(p)
		if total += n; n > 0 && total > big {
			p[n-1] ^= 1
		}
		return n, err
	}
}

func readForgetsEnd(f *faulty) {
	ended := false
	f.read = func(p []byte) (int, error) {
		n, err := f.complete.Read(p)
		if ended {
			return 0, net.ErrClosed
		}
		ended = err == io.EOF //nolint:errorlint // what io.Reader returns
		return n, err
	}
}

func writeKeeps(f *faulty) {
	var kept []byte
	f.write = func(p []byte) (int, error) {
		_, err := f.complete.Write(kept)
		kept = p
		return len(p), err
	}
}

func writeChanges(f *faulty) {
	f.write = func(p []byte) (int, error) {
		n, err := f.complete.Write(p)
		p[0] ^= 1
		return n, err
	}
}

func emptyWriteEnds(f *faulty) {
	f.write = func(p []byte) (int, error) {
		if len(p) == 0 {
			return 0, f.complete.CloseWrite()
		}
		return f.complete.Write(p)
	}
}

func writeCountsShort(f *faulty) {
	f.write = func(p []byte) (int, error) {
		n, err := f.complete.Write(p)
		return n / 2, err
	}
}

func closePanics(f *faulty) {
	closed := make(chan struct{})
	f.close = func() error {
		close(closed)
		return f.complete.Close()
	}
}

func headroomOverrun(f *faulty) {
	f.writeHeadroom = func(buf []byte, front, back int) error {
		err := f.complete.WriteHeadroom(buf, front, back)
		buf[:len(buf)+1][len(buf)] = 0xff
		return err
	}
}

func headroomAll(f *faulty) {
	f.writeHeadroom = func(buf []byte, _, _ int) error {
		_, err := f.complete.Write(buf)
		return err
	}
}

func waitSaysEOF(f *faulty) {
	f.waitRead = func() error {
		_, err := f.complete.Read(make([]byte, 1))
		if err != nil {
			return io.EOF
		}
		return nil
	}
}

// flip is a stream that says the opposite of what it is told.
type flip struct{ transport.StreamConn }

func (f flip) Read(p []byte) (int, error) {
	n, err := f.StreamConn.Read(p)
	for i := range p[:n] {
		p[i] = ^p[i]
	}
	return n, err
}

func (f flip) Write(p []byte) (int, error) {
	inverse := make([]byte, len(p))
	for i := range p {
		inverse[i] = ^p[i]
	}
	return f.StreamConn.Write(inverse)
}

// promoting has WriteTo and ReadFrom of the connection inside, which flip nothing.
type promoting struct{ *net.TCPConn }

func (c promoting) Read(p []byte) (int, error)  { return flip{c.TCPConn}.Read(p) }
func (c promoting) Write(p []byte) (int, error) { return flip{c.TCPConn}.Write(p) }

func TestConformanceFindsPromotedMethods(t *testing.T) {
	for _, name := range []string{"io.Copy from a", "io.Copy to a"} {
		a, b := TCPPair(t)
		if err := byName(t, name).examine(flip{a}, flip{b}, limit); err != nil {
			t.Errorf("check %q of a right stream = %v, want nil", name, err)
		}
		a, b = TCPPair(t)
		err := byName(t, name).examine(promoting{a}, flip{b}, limit)
		if err == nil || !strings.Contains(err.Error(), "difference") {
			t.Errorf("check %q = %v, want an error with %q", name, err, "difference")
		}
	}
}

func TestOptionalInterfacesAreSkipped(t *testing.T) {
	for _, c := range slices.Concat(headroomChecks(), waitReadChecks()) {
		a, b := TCPPair(t)
		if err := c.examine(a, b, limit); !errors.Is(err, errNotImplemented) {
			t.Errorf("check %q on a plain TCP connection = %v, want %v", c.name, err, errNotImplemented)
		}
	}
}

// A Close that hangs must fail the check, not the run.
func TestHungCleanUpIsReported(t *testing.T) {
	a, b := TCPPair(t)
	release := make(chan struct{})
	f := newFaulty(a)
	c := check{"hangs behind", func(p *pair) error {
		p.start(func() error { <-release; return nil })
		return errors.New("what the check found")
	}}
	err := c.examine(f, b, 50*time.Millisecond)
	close(release)
	for _, want := range []string{"hangs behind", "what the check found", "goroutine "} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("examine() = %v, want %q in it", err, want)
		}
	}
}

func TestChecksHaveNamesOfTheirOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range checks() {
		if seen[c.name] {
			t.Errorf("two checks are named %q", c.name)
		}
		seen[c.name] = true
	}
}
