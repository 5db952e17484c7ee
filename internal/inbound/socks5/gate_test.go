package socks5

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"
)

var errFullHouse = errors.New("full house")

// fakeGate lets so many flows in at once, and notes who comes and goes.
type fakeGate struct {
	places chan struct{}
	events chan string
}

func newFakeGate(places int) *fakeGate {
	return &fakeGate{places: make(chan struct{}, places), events: make(chan string, 64)}
}

func (g *fakeGate) Enter(_ context.Context, proto string) (leave func(), err error) {
	select {
	case g.places <- struct{}{}:
	default:
		g.events <- "refused " + proto
		return nil, errFullHouse
	}
	g.events <- "in " + proto
	return func() {
		<-g.places
		g.events <- "out " + proto
	}, nil
}

func (g *fakeGate) want(t *testing.T, event string) {
	t.Helper()
	select {
	case got := <-g.events:
		if got != event {
			t.Fatalf("event %q at the gate, want %q", got, event)
		}
	case <-time.After(patience):
		t.Fatalf("no event at the gate, want %q", event)
	}
}

// TestGateRefuses: a flow without room gets an answer, nothing is dialed for it, and no observer hears of it.
func TestGateRefuses(t *testing.T) {
	dialer, gate := newTargets(t), newFakeGate(1)
	settings := Settings{Stream: dialer, Packet: newPacketNet(t)}
	r := start(t, &Server{Settings: settings, Gate: gate})
	first := r.dial()
	first.send(helloOpen + connectName)
	first.want(acceptOpen + succeeded)
	far := dialer.want("example.com:80")
	gate.want(t, "in tcp")
	r.seen.want(t, "opened tcp")
	for proto, request := range map[string]string{"tcp": connectV4, "udp": associateAny} {
		late := r.dial()
		late.send(helloOpen + request)
		late.want(acceptOpen + failure)
		late.wantEnd()
		late.Close()
		gate.want(t, "refused "+proto)
		r.wantLog("level=DEBUG", `msg="flow refused"`, "proto="+proto, `err="full house"`)
	}
	first.closeWrite()
	far.closeWrite()
	first.wantEnd()
	gate.want(t, "out tcp")
	r.seen.want(t, "closed tcp")
	udp := r.dial()
	udp.send(helloOpen + associateAny)
	udp.want(acceptOpen + "\x05\x00\x00\x01\x7f\x00\x00\x01")
	gate.want(t, "in udp")
	udp.Close()
	gate.want(t, "out udp")
}

// TestGateIsLeftInAnyCase: also by a flow that comes to nothing.
func TestGateIsLeftInAnyCase(t *testing.T) {
	gate := newFakeGate(1)
	r := start(t, &Server{Settings: Settings{Stream: failWith(syscall.ECONNREFUSED)}, Gate: gate})
	for range 3 {
		c := r.dial()
		c.send(helloOpen + connectName)
		c.want(acceptOpen + "\x05\x05\x00" + zeroAddr)
		c.Close()
		gate.want(t, "in tcp")
		gate.want(t, "out tcp")
	}
}

// TestCutNewest: the newest flows are reset, each once, and the others and who is not in yet go on.
func TestCutNewest(t *testing.T) {
	dialer := newTargets(t)
	r := start(t, &Server{Settings: Settings{Stream: dialer}})
	if n := r.CutNewest(4, errFullHouse); n != 0 {
		t.Errorf("CutNewest without flows = %d, want 0", n)
	}
	const flows, oneIn = 5, 4 // so that two are the newest quarter
	var clients []*wire
	var fars []target
	for range flows {
		c := r.dial()
		c.send(helloOpen + connectName)
		c.want(acceptOpen + succeeded)
		clients, fars = append(clients, c), append(fars, dialer.want("example.com:80"))
	}
	silent := r.dial()
	silent.send(helloOpen)
	silent.want(acceptOpen)
	if n := r.CutNewest(oneIn, errFullHouse); n != 2 {
		t.Errorf("CutNewest = %d, want 2", n)
	}
	for i := range flows - 2 {
		fars[i].send("goes on")
		clients[i].want("goes on")
	}
	for _, c := range clients[flows-2:] {
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a flow that was cut ended with %v, want a reset", err)
		}
	}
	r.wantLog("level=INFO", `msg="flow broken"`, "flow=5", `err="full house"`)
	r.wantLog("level=INFO", `msg="flow broken"`, "flow=4", `err="full house"`)
	silent.send(connectName)
	silent.want(succeeded)
	if n := r.CutNewest(1, errFullHouse); n != 4 {
		t.Errorf("CutNewest of all = %d, want the 4 that are left", n)
	}
}

// TestMaxOutside: flows that are in do not count, nor does who has left.
func TestMaxOutside(t *testing.T) {
	dialer := newTargets(t)
	r := start(t, &Server{Settings: Settings{Stream: dialer, MaxOutside: 1}})
	enter := func() *wire {
		c := r.dial()
		c.send(helloOpen)
		c.want(acceptOpen)
		return c
	}
	for range 3 {
		c := enter()
		c.send(connectName)
		c.want(succeeded)
		dialer.want("example.com:80")
		r.seen.want(t, "opened tcp")
	}
	c := enter()
	late := r.dial()
	if n, err := late.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection too many reads %d, %v, want EOF", n, err)
	}
	r.wantLog("level=WARN", `msg="client refused"`, errFull.Error())
	if n := r.Refused(); n != 1 {
		t.Errorf("Refused() = %d, want 1", n)
	}
	c.send(connectName)
	c.want(succeeded)
	dialer.want("example.com:80")
	r.seen.want(t, "opened tcp")
	enter()
}

// sizes is a socket that notes what is asked of it.
type sizes struct{ read, write int }

func (s *sizes) SetReadBuffer(n int) error  { s.read = n; return nil }
func (s *sizes) SetWriteBuffer(n int) error { s.write = n; return nil }

func TestSocketBuffers(t *testing.T) {
	for _, tt := range []struct{ set, stream, datagram int }{
		{0, 0, socketBuffer}, {64 << 10, 64 << 10, 256 << 10}, {512 << 10, 512 << 10, socketBuffer},
	} {
		s := Settings{SocketBuffer: tt.set}
		var stream, datagram sizes
		setBuffers(&stream, s.SocketBuffer)
		setBuffers(&datagram, s.datagramBuffer())
		if want := (sizes{tt.stream, tt.stream}); stream != want {
			t.Errorf("%d: socket of a stream %+v, want %+v", tt.set, stream, want)
		}
		if want := (sizes{tt.datagram, tt.datagram}); datagram != want {
			t.Errorf("%d: socket of an association %+v, want %+v", tt.set, datagram, want)
		}
	}
}
