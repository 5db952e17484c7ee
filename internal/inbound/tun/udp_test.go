package tun

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// TestMappingIsEndpointIndependent: one upstream socket for an address and port, whoever it sends to, and
// anybody may answer.
func TestMappingIsEndpointIndependent(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.send("one", host4, target4)
		r.send("two", host4, other4)
		if n := r.network.opened(); n != 1 {
			t.Fatalf("%d sockets for one source, want 1", n)
		}
		up := r.network.socket(0)
		up.want(t, sentTo{"one", target4.String()}, sentTo{"two", other4.String()})
		up.answer("hello", other4)
		r.wantDatagram("hello", other4, host4)
		stranger := netip.MustParseAddrPort("192.0.2.99:1")
		up.answer("who are you", stranger)
		r.wantDatagram("who are you", stranger, host4)

		r.send("three", netip.AddrPortFrom(host4.Addr(), 5001), target4)
		r.send("four", host6, target6)
		if n := r.network.opened(); n != 3 {
			t.Fatalf("%d sockets for three sources, want 3", n)
		}
		r.network.socket(1).want(t, sentTo{"three", target4.String()})
		r.network.socket(2).want(t, sentTo{"four", target6.String()})
		r.network.socket(2).answer("", target6)
		r.wantDatagram("", target6, host6)
		r.wantDrops()
		if got := r.counters.packets[directionIn].Load(); got != 3 {
			t.Errorf("%d packets to the host counted, want 3", got)
		}
	})
}

// TestDialsAreForTheClient, whose address decides where affinity is by client.
func TestDialsAreForTheClient(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.network.dial = func(ctx context.Context) error {
			if got := transport.Client(ctx); got != host4.Addr() {
				t.Errorf("dial for %v, want %v", got, host4.Addr())
			}
			return nil
		}
		r.send("one", host4, target4)
	})
}

func TestIdleAssociationsEnd(t *testing.T) {
	tests := []struct {
		name    string
		targets []netip.AddrPort
		want    time.Duration
	}{
		{"dns", []netip.AddrPort{dns4}, idleDNS},
		{"quic", []netip.AddrPort{quic4}, idleQUIC},
		{"any", []netip.AddrPort{target4}, idleOther},
		{"the longest counts", []netip.AddrPort{quic4, dns4}, idleQUIC},
		{"in any order", []netip.AddrPort{dns4, target4}, idleOther},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inDoor(t, func(t *testing.T, r *door) {
				for _, target := range tt.targets {
					r.send("x", host4, target)
				}
				up := r.network.socket(0)
				time.Sleep(tt.want - sweepEvery)
				up.answer("an answer counts", tt.targets[0])
				time.Sleep(tt.want - 1)
				synctest.Wait()
				if r.network.open() != 1 {
					t.Errorf("gone before %v", tt.want)
				}
				time.Sleep(sweepEvery + 1)
				synctest.Wait()
				if r.network.open() != 0 {
					t.Errorf("open after %v and a sweep", tt.want)
				}
				r.send("y", host4, tt.targets[0])
				if r.network.opened() != 2 {
					t.Error("no new socket after the end")
				}
			})
		})
	}
}

func TestAssociationsOfAClientAreBounded(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.settings.MaxUDPByClient = 3
		source := func(i int) netip.AddrPort { return netip.AddrPortFrom(host4.Addr(), uint16(1000+i)) }
		r.send("x", host6, target6) // another client's, and the oldest of all
		for i := range 3 {
			r.send("x", source(i), target4)
		}
		r.send("x", source(0), target4)
		r.send("x", source(3), target4) // in the place of 1
		if n := r.network.open(); n != 4 {
			t.Errorf("%d associations, want 4", n)
		}
		for _, i := range []int{0, 2, 3} {
			r.send("x", source(i), target4)
		}
		if n := r.network.opened(); n != 5 {
			t.Errorf("%d sockets were opened, want 5: those in use stay", n)
		}
		r.send("x", source(1), target4)
		if n := r.network.opened(); n != 6 {
			t.Errorf("%d sockets were opened, want 6: the one unused for longest was ended", n)
		}
		r.wantDrops()
	})
}

func TestAllAssociationsAreBounded(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.settings.MaxUDP = 10
		source := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1000)
		}
		for i := range 1000 {
			r.send("x", source(i), target4)
			r.send("x", host4, target4) // always in use
			if n := r.network.open(); n > 10 {
				t.Fatalf("%d associations, want at most 10", n)
			}
		}
		if n := r.network.opened(); n != 1001 {
			t.Errorf("%d sockets were opened, want 1001: that in use stays", n)
		}
		r.wantDrops()
	})
}

// TestAssociationsThatDoNotEnd: a dialer that ignores its context does not make more of them than twice.
func TestAssociationsThatDoNotEnd(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		hang := make(chan struct{})
		r.network.dial = func(context.Context) error { <-hang; return errDown }
		r.settings.MaxUDP = 5
		for i := range uint16(20) {
			r.send("x", netip.AddrPortFrom(host4.Addr(), 1000+i), target4)
		}
		if live := r.tally.opened.Load() - r.tally.closed.Load(); live != 10 {
			t.Errorf("%d associations run, want 10", live)
		}
		if got := r.counters.drops[dropFull].Load(); got != 10 {
			t.Errorf("%d packets dropped, want 10", got)
		}
		close(hang)
	})
}

// TestLargest: what an upstream can just carry is carried.
func TestLargest(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		four, six := strings.Repeat("4", maxPayload4), strings.Repeat("6", maxPayload6)
		r.send(four, host4, target4)
		r.send(six, host6, target6)
		r.network.socket(0).want(t, sentTo{four, target4.String()})
		r.network.socket(1).want(t, sentTo{six, target6.String()})
		r.network.socket(0).answer(four, target4)
		r.wantDatagram(four, target4, host4)
		r.wantDrops()
	})
}

// TestSlowUpstream: what waits for an upstream is bounded, for each association and for all.
func TestSlowUpstream(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		opened := make(chan struct{})
		r.network.dial = func(ctx context.Context) error {
			select {
			case <-opened:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		r.send("first", host4, target4)               // is being sent
		packet := packetOf(t, "more", host4, target4) // wait
		for range maxQueued + 10 {
			r.handle(packet)
		}
		if got := r.counters.drops[dropQueue].Swap(0); got != 10 {
			t.Errorf("%d packets dropped, want 10", got)
		}
		for i := range 100 { // far more than maxQueuedBytes
			source := netip.AddrPortFrom(host4.Addr(), uint16(6000+i))
			packet := packetOf(t, strings.Repeat("x", 3000), source, target4)
			for range 100 {
				r.handle(packet)
			}
		}
		if queued := r.queued.Load(); queued > maxQueuedBytes {
			t.Errorf("%d bytes wait, want at most %d", queued, maxQueuedBytes)
		}
		if r.counters.drops[dropQueue].Swap(0) == 0 {
			t.Error("nothing dropped")
		}
		close(opened)
		synctest.Wait()
		r.network.mu.Lock()
		delivered := 0
		for _, s := range r.network.sockets {
			delivered += len(s.sent)
		}
		r.network.mu.Unlock()
		if delivered < maxQueued+1+100 {
			t.Errorf("%d datagrams delivered", delivered)
		}
		if queued := r.queued.Load(); queued != 0 {
			t.Errorf("%d bytes wait, want none", queued)
		}
	})
}

// TestUpstreamFails: the packets are counted, the association lives on.
func TestUpstreamFails(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		down := true
		r.network.dial = func(context.Context) error {
			if down {
				return errDown
			}
			return nil
		}
		r.send("one", host4, target4)
		r.wantDrops(dropNoSocket)
		if got := r.counters.errors[opSendUDP].Load(); got != 1 {
			t.Errorf("%d errors counted, want 1", got)
		}
		down = false
		time.Sleep(time.Second)
		r.send("two", host4, target4)
		r.network.socket(0).want(t, sentTo{"two", target4.String()})
	})
}

// gateFunc is a Gate.
type gateFunc func(ctx context.Context, proto string) (func(), error)

func (f gateFunc) Enter(ctx context.Context, proto string) (func(), error) { return f(ctx, proto) }

// TestGate: an association waits for room, and its packets with it; those of one that gets none are dropped.
func TestGate(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		var inside atomic.Int32
		var full atomic.Bool
		r.gate = gateFunc(func(_ context.Context, proto string) (func(), error) {
			if time.Sleep(time.Second); full.Load() || proto != protoUDP {
				return nil, errors.New("no room")
			}
			inside.Add(1)
			return func() { inside.Add(-1) }, nil
		})
		r.send("one", host4, target4)
		r.send("two", host4, target4)
		if n := r.network.opened(); n != 0 {
			t.Errorf("%d sockets before there is room, want none", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.network.socket(0).want(t, sentTo{"one", target4.String()}, sentTo{"two", target4.String()})
		full.Store(true)
		r.send("three", host6, target6)
		r.send("four", host6, target6)
		time.Sleep(time.Second)
		synctest.Wait()
		r.wantDrops(dropFull, dropFull)
		full.Store(false)
		r.send("five", host6, target6)
		time.Sleep(time.Second)
		synctest.Wait()
		r.network.socket(1).want(t, sentTo{"five", target6.String()})
		r.close()
		if n := inside.Load(); n != 0 {
			t.Errorf("%d associations have not left", n)
		}
	})
}

// TestStrangeSources: what the host cannot have asked for does not reach it.
func TestStrangeSources(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.send("one", host4, target4)
		up := r.network.socket(0)
		up.answer("IPv6 for IPv4", target6)
		r.wantDrops(dropMalformed)
		name, err := socksaddr.Parse("example.com:1")
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range []net.Addr{name, nil} {
			up.in <- from{[]byte("x"), source}
			synctest.Wait()
		}
		r.wantDrops(dropMalformed)
		r.wantError(-1, 0)
		up.answer("fine", target4)
		r.wantDatagram("fine", target4, host4)
	})
}

func TestWriteFails(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.send("one", host4, target4)
		r.host.err = errors.New("device is gone")
		r.network.socket(0).answer("x", target4)
		if got := r.counters.errors[opWrite].Load(); got != 1 {
			t.Errorf("%d errors counted, want 1", got)
		}
		if got := r.counters.packets[directionIn].Load(); got != 0 {
			t.Errorf("%d packets counted, want none", got)
		}
	})
}

// TestDraining: what is there goes on, and there is nothing new.
func TestDraining(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.send("one", host4, target4)
		r.draining.Store(true)
		r.send("two", host4, target4)
		r.network.socket(0).want(t, sentTo{"one", target4.String()}, sentTo{"two", target4.String()})
		r.wantDrops()
		r.send("three", host6, target6)
		r.wantDrops(dropRefused)
		r.wantError(1, 4)
	})
}

// TestAfterTheEnd: packets that come late start nothing.
func TestAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDoor(t)
		r.send("one", host4, target4)
		r.end()
		r.send("two", host4, target4)
		r.wantDrops(dropFull)
		if n := r.network.opened(); n != 1 {
			t.Errorf("%d sockets were opened, want 1", n)
		}
	})
}

// TestEndWhileDialling does not wait for the dial's own limit.
func TestEndWhileDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDoor(t)
		r.network.dial = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		for i := range uint16(100) {
			r.send(fmt.Sprint(i), netip.AddrPortFrom(host4.Addr(), 1000+i), target4)
		}
		began := time.Now()
		r.end()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %v, want no wait", took)
		}
	})
}

// TestClientsSocket: the association is a packet connection, as far as its user needs one.
func TestClientsSocket(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.send("one", host4, target4)
		a := r.table.find(host4, time.Now(), 0)
		if a.LocalAddr().String() != host4.String() {
			t.Errorf("LocalAddr = %v, want %v", a.LocalAddr(), host4)
		}
		if err := a.SetDeadline(time.Now().Add(time.Hour)); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("SetDeadline(later) = %v, want %v", err, errors.ErrUnsupported)
		}
		if err := a.SetWriteDeadline(time.Now()); err != nil {
			t.Errorf("SetWriteDeadline = %v", err)
		}
		_ = a.Close()
		synctest.Wait()
		if n := r.network.open(); n != 0 {
			t.Errorf("%d sockets open after Close, want none", n)
		}
	})
}
