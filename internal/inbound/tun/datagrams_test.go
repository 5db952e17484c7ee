package tun

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/ippacket"
)

func TestFragmentsAreReassembled(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		text := strings.Repeat("0123456789", 200)
		first, last := cut(packetOf(t, text, host4, target4), 1480)
		r.handle(first)
		r.wantDrops()
		r.handle(last)
		synctest.Wait()
		first, last = cut(packetOf(t, text, host6, target6), 1232)
		r.handle(last)
		r.handle(first)
		synctest.Wait()
		r.network.socket(0).want(t, sentTo{text, target4.String()})
		r.network.socket(1).want(t, sentTo{text, target6.String()})
		r.wantDrops()
	})
}

func TestLostFragments(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		first, last := cut(packetOf(t, strings.Repeat("x", 2000), host4, target4), 1480)
		r.handle(first)
		time.Sleep(30*time.Second + sweepEvery)
		synctest.Wait()
		r.wantDrops(dropFragment)
		if r.fragments.Pending() != 0 {
			t.Error("fragments are still waiting")
		}
		r.handle(last)
		overlap, _ := cut(packetOf(t, strings.Repeat("y", 2000), host4, target4), 1488)
		r.handle(overlap)
		r.wantDrops(dropFragment, dropFragment)
	})
}

// TestTooBigInFragments: the answer quotes the datagram as if it had never been cut.
func TestTooBigInFragments(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		first, last := cut(packetOf(t, strings.Repeat("x", 5000), host4, target4), 2000)
		r.handle(first)
		r.handle(last)
		r.wantDrops(dropSize)
		r.wantError(3, 4)
	})
}

func TestOtherProtocols(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		packet := packetOf(t, strings.Repeat("x", 100), host4, target4)
		packet[9] = 47
		r.handle(packet)
		r.wantDrops(dropProtocol)
		first, _ := cut(packet, 80)
		r.handle(first)
		r.wantDrops(dropProtocol)
		if r.fragments.Pending() != 0 {
			t.Error("fragments of a protocol that goes nowhere are kept")
		}
		r.handle(nil)
		r.handle([]byte{0x45})
		r.handle(append(packetOf(t, "", host4, target4)[:20:20], 0))
		r.wantDrops(dropMalformed, dropMalformed, dropMalformed)
		r.wantError(-1, 0)
	})
}

// echoRequest is a ping of the host.
func echoRequest(t testing.TB, source, target netip.AddrPort) []byte {
	t.Helper()
	b := packetOf(t, "12345678", source, target)
	protocol, kind := &b[9], byte(8)
	if source.Addr().Is6() {
		protocol, kind = &b[6], 128
	}
	*protocol = icmpOf(source.Addr())
	copy(b[len(b)-16:], []byte{kind, 0, 0, 0, 0, 7, 0, 1})
	return b
}

func TestEcho(t *testing.T) {
	for _, pair := range [][2]netip.AddrPort{{host4, target4}, {host6, target6}} {
		inDoor(t, func(t *testing.T, r *door) {
			request := echoRequest(t, pair[0], pair[1])
			r.handle(request)
			packets := r.host.take()
			if len(packets) != 1 || len(packets[0]) != len(request) {
				t.Fatalf("host got %x, want one reply", packets)
			}
			p, err := ippacket.Parse(packets[0])
			if err != nil || p.Source != pair[1].Addr() || p.Target != pair[0].Addr() || p.IsEcho() {
				t.Errorf("reply = %x, %v", packets[0], err)
			}
			r.wantDrops()

			usable := map[string]bool{"tcp": true}
			r.settings.Usable = func(proto string) bool { return usable[proto] }
			r.handle(request)
			r.wantDrops()
			clear(usable)
			r.host.take()
			r.handle(request)
			r.wantDrops(dropNoUpstream)
			r.wantError(-1, 0)
		})
	}
}

// TestSweepRests: a host whose flows have ended is not woken any more.
func TestSweepRests(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		for range 3 {
			r.send("x", host4, target4)
			time.Sleep(idleOther + 2*sweepEvery)
			synctest.Wait()
			if n := r.network.open(); n != 0 {
				t.Errorf("%d associations, want none", n)
			}
			if r.sweeping.Load() {
				t.Error("somebody looks for idle flows where there are none")
			}
		}
	})
}

func FuzzHandle(f *testing.F) {
	f.Add(packetOf(f, "data", host4, target4))
	f.Add(packetOf(f, "data", host6, target6))
	f.Add(packetOf(f, strings.Repeat("x", 5000), host4, target4))
	f.Add(echoRequest(f, host4, target4))
	f.Add(echoRequest(f, host6, target6))
	first, _ := cut(packetOf(f, strings.Repeat("x", 100), host4, target4), 80)
	f.Add(first)
	h := new(host)
	d := newDatagrams(f.Context(), datagramOptions{
		settings: func() *Settings { return new(Settings) }, draining: new(atomic.Bool).Load, out: h,
		counters: new(Counters), observer: unobserved{}, gate: openGate{},
	})
	f.Cleanup(d.close)
	f.Fuzz(func(t *testing.T, b []byte) {
		d.handle(b)
		for _, packet := range h.take() {
			if p, err := ippacket.Parse(packet); err != nil || len(p.Whole) != len(packet) {
				t.Errorf("the answer to %x is %x: %v", b, packet, err)
			}
		}
	})
}
