package balancer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cooldown = 20 * time.Second

// fake is a member over one protocol. It notes its dials in the log that all share.
type fake struct {
	name  string
	dials *dialLog
	err   error                           // what dials end with
	dial  func(ctx context.Context) error // instead of err, if there is one
}

// dialLog is the order of dials since the last look.
type dialLog struct {
	mu    sync.Mutex
	names []string
}

func (l *dialLog) add(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = append(l.names, name)
}

func (l *dialLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := l.names
	l.names = nil
	return names
}

func (f *fake) result(ctx context.Context) error {
	f.dials.add(f.name)
	if f.dial != nil {
		return f.dial(ctx)
	}
	return f.err
}

// stream and packet are what members open; they tell who opened them.
type (
	stream struct {
		transport.StreamConn
		by, addr string
	}
	packet struct {
		net.PacketConn
		by string
	}
)

func (f *fake) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	if err := f.result(ctx); err != nil {
		return nil, err
	}
	return stream{by: f.name, addr: addr}, nil
}

func (f *fake) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if err := f.result(ctx); err != nil {
		return nil, err
	}
	return packet{by: f.name}, nil
}

// world is a balancer over members a, b and c.
type world struct {
	*Ordered
	dials    dialLog
	tcp, udp map[string]*fake
	logged   bytes.Buffer
}

func newWorld() *world {
	w := &world{tcp: map[string]*fake{}, udp: map[string]*fake{}}
	var members []Member
	for _, name := range []string{"a", "b", "c"} {
		w.tcp[name] = &fake{name: name, dials: &w.dials}
		w.udp[name] = &fake{name: name, dials: &w.dials}
		members = append(members, Member{Name: name, Stream: w.tcp[name], Packet: w.udp[name]})
	}
	w.Ordered = NewOrdered(members, cooldown, slog.New(slog.NewTextHandler(&w.logged, nil)))
	return w
}

// wantStream demands that these members are dialed in that order and the last one opens the stream.
func (w *world) wantStream(t *testing.T, want ...string) {
	t.Helper()
	conn, err := w.DialStream(t.Context(), "192.0.2.1:80")
	if err != nil {
		t.Errorf("DialStream = %v, want no error", err)
		return
	}
	if got := conn.(stream); got.by != want[len(want)-1] || got.addr != "192.0.2.1:80" {
		t.Errorf("DialStream: opened by %s to %s, want by %s to 192.0.2.1:80",
			got.by, got.addr, want[len(want)-1])
	}
	if got := w.dials.take(); !slices.Equal(got, want) {
		t.Errorf("DialStream: dialed %v, want %v", got, want)
	}
}

func (w *world) wantPacket(t *testing.T, want ...string) {
	t.Helper()
	conn, err := w.ListenPacket(t.Context())
	if err != nil {
		t.Errorf("ListenPacket = %v, want no error", err)
		return
	}
	if got := conn.(packet).by; got != want[len(want)-1] {
		t.Errorf("ListenPacket: opened by %s, want %s", got, want[len(want)-1])
	}
	if got := w.dials.take(); !slices.Equal(got, want) {
		t.Errorf("ListenPacket: dialed %v, want %v", got, want)
	}
}

var (
	errA = errors.New("a is away")
	errB = errors.New("b is away")
	errC = errors.New("c is away")
)

func TestOrderedTakesTheFirst(t *testing.T) {
	w := newWorld()
	for range 3 {
		w.wantStream(t, "a")
		w.wantPacket(t, "a")
	}
	if w.logged.Len() > 0 {
		t.Errorf("logged %s, want nothing", &w.logged)
	}
}

func TestOrderedFailsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.tcp["a"].err = errA
		w.tcp["b"].err = errB
		w.wantStream(t, "a", "b", "c")
		for _, want := range []string{"upstream=a", "upstream=b", "proto=tcp", errA.Error()} {
			if !strings.Contains(w.logged.String(), want) {
				t.Errorf("log lacks %q:\n%s", want, &w.logged)
			}
		}
		w.wantPacket(t, "a") // TCP's failure says nothing about UDP
	})
}

func TestOrderedCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.tcp["a"].err = errA
		w.wantStream(t, "a", "b")
		w.tcp["a"].err = nil
		<-time.After(cooldown - time.Nanosecond)
		w.wantStream(t, "b")
		<-time.After(time.Nanosecond)
		w.wantStream(t, "a")
	})
}

func TestOrderedPacketsCoolApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.udp["a"].err = errA
		w.wantPacket(t, "a", "b")
		w.wantPacket(t, "b")
		w.wantStream(t, "a")
	})
}

// When every member is cooling, they are tried nevertheless, and one that answers is back at once.
func TestOrderedLastHope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.tcp["a"].err, w.tcp["b"].err, w.tcp["c"].err = errA, errB, errC
		for range 3 {
			_, err := w.DialStream(t.Context(), "192.0.2.1:80")
			for _, want := range []error{ErrNoUpstream, errA, errB, errC} {
				if !errors.Is(err, want) {
					t.Errorf("DialStream = %v, want an error that is %v", err, want)
				}
			}
			if got, want := w.dials.take(), []string{"a", "b", "c"}; !slices.Equal(got, want) {
				t.Errorf("dialed %v, want %v", got, want)
			}
		}
		w.tcp["b"].err = nil
		w.wantStream(t, "a", "b")
		w.wantStream(t, "b")
	})
}

// Members that are not cooling come first, whatever their place.
func TestOrderedCoolingComesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.tcp["a"].err = errA
		w.wantStream(t, "a", "b")
		w.tcp["b"].err = errB
		w.tcp["c"].err = errC
		w.tcp["a"].err = nil
		w.wantStream(t, "b", "c", "a")
	})
}

func TestOrderedWithoutACooldown(t *testing.T) {
	w := newWorld()
	w.Ordered = NewOrdered([]Member{
		{Name: "a", Stream: w.tcp["a"]}, {Name: "b", Stream: w.tcp["b"]},
	}, 0, nil)
	w.tcp["a"].err = errA
	w.wantStream(t, "a", "b")
	w.wantStream(t, "a", "b")
}

// A client that leaves during a dial says nothing about the member.
func TestOrderedClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		errLeft := errors.New("the client left")
		ctx, cancel := context.WithCancelCause(t.Context())
		w.tcp["a"].dial = func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("dial: %w", ctx.Err())
		}
		go cancel(errLeft)
		if _, err := w.DialStream(ctx, "192.0.2.1:80"); !errors.Is(err, errLeft) {
			t.Errorf("DialStream = %v, want %v", err, errLeft)
		}
		if got, want := w.dials.take(), []string{"a"}; !slices.Equal(got, want) {
			t.Errorf("dialed %v, want %v alone", got, want)
		}
		w.tcp["a"].dial = nil
		w.wantStream(t, "a")
		if w.logged.Len() > 0 {
			t.Errorf("logged %s, want nothing", &w.logged)
		}
	})
}

func TestOrderedCarries(t *testing.T) {
	w := newWorld()
	tcpOnly := Member{Name: "a", Stream: w.tcp["a"]}
	udpOnly := Member{Name: "b", Packet: w.udp["b"]}
	rows := []struct {
		name     string
		members  []Member
		tcp, udp bool
	}{
		{"none", nil, false, false},
		{"one of TCP", []Member{tcpOnly}, true, false},
		{"one of UDP", []Member{udpOnly}, false, true},
		{"one of each", []Member{tcpOnly, udpOnly}, true, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			o := NewOrdered(row.members, cooldown, nil)
			if got := o.CarriesPackets(); got != row.udp {
				t.Errorf("CarriesPackets() = %t, want %t", got, row.udp)
			}
			if _, err := o.DialStream(t.Context(), "192.0.2.1:80"); errors.Is(err, ErrNoUpstream) == row.tcp {
				t.Errorf("DialStream = %v, want ErrNoUpstream: %t", err, !row.tcp)
			}
			if _, err := o.ListenPacket(t.Context()); errors.Is(err, ErrNoUpstream) == row.udp {
				t.Errorf("ListenPacket = %v, want ErrNoUpstream: %t", err, !row.udp)
			}
		})
	}
}

func TestOrderedConcurrently(t *testing.T) {
	w := newWorld()
	w.tcp["a"].err, w.udp["a"].err = errA, errA
	var flows sync.WaitGroup
	for range 8 {
		flows.Go(func() {
			for range 200 {
				if _, err := w.DialStream(t.Context(), "192.0.2.1:80"); err != nil {
					t.Errorf("DialStream = %v, want no error", err)
				}
				if _, err := w.ListenPacket(t.Context()); err != nil {
					t.Errorf("ListenPacket = %v, want no error", err)
				}
			}
		})
	}
	flows.Wait()
}

// TestLocalTroubleBlamesNobody: an upstream cannot help it when this host is out of descriptors.
func TestLocalTroubleBlamesNobody(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}, true},
		{fmt.Errorf("apply fwmark 1: %w", syscall.EPERM), true},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, false},
		{context.DeadlineExceeded, false},
	} {
		if got := isLocal(tt.err); got != tt.want {
			t.Errorf("isLocal(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}
