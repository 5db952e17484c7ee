package tun

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dnsforward"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// echoing is a network that sends everything back, and an answer to every query.
func echoing(t testing.TB) *network {
	t.Helper()
	return &network{echo: func(s *upSocket, payload []byte, target net.Addr) {
		answer := append([]byte(nil), payload...)
		if target.String() == "192.0.2.53:53" {
			answer = dnsAnswer(t, payload, 1)
		}
		select {
		case s.in <- from{answer, target}:
		case <-s.closed:
		}
	}}
}

// fleet is a balancer over networks.
type fleet struct {
	*balancer.Balancer
	records []*health.Record
	blamed  []error
}

func newFleet(networks ...*network) *fleet {
	f := new(fleet)
	var members []balancer.Member
	for i, n := range networks {
		record := health.NewRecord(health.Policy{Cooldown: time.Minute, MaxInterval: time.Minute})
		record.Success(time.Now(), time.Millisecond)
		f.records = append(f.records, record)
		members = append(members, balancer.Member{
			Name: fmt.Sprint(i), Weight: 1,
			Packet: &balancer.Path[transport.PacketListener]{
				Dialer: n, Fresh: n, Health: record,
				Failed: func(err error) { f.blamed = append(f.blamed, err) },
			},
		})
	}
	f.Balancer = balancer.New(members, balancer.Options{StickyTTL: time.Minute})
	return f
}

// wantNoBlame: every path is as good as before.
func (f *fleet) wantNoBlame(t *testing.T) {
	t.Helper()
	for i, record := range f.records {
		s := record.Status(time.Now())
		if !s.Eligible() || s.Penalty != 0 || s.LastError != nil {
			t.Errorf("upstream %d is blamed: %+v", i, s)
		}
	}
	if len(f.blamed) > 0 {
		t.Errorf("failures counted: %v", f.blamed)
	}
}

// TestManyFlowsAndQueries: 10,000 flows and 100,000 queries, and everything is as before. The bubble sees to
// it that no goroutine is left.
func TestManyFlowsAndQueries(t *testing.T) {
	const flows, queries = 10_000 / scaleDown, 100_000 / scaleDown
	synctest.Test(t, func(t *testing.T) {
		first, second := echoing(t), echoing(t)
		up := newFleet(first, second)
		forwarder := dnsforward.New(dnsforward.Options{
			Packet: up, Stream: up, CacheBytes: 64 << 10,
			Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
		})
		r := newDoor(t)
		r.out = discard{}
		r.settings = Settings{Packet: up, DNS: forwarder, MaxUDPByClient: 1000}
		r.manyQueries(queries / 10)
		r.manyFlows(flows) // the runtime never frees the descriptors of goroutines, but uses them again
		before := memory()
		r.manyFlows(flows)
		r.manyQueries(queries)
		grown := int64(memory()) - int64(before)
		t.Logf("heap grew by %d KiB", grown>>10)
		if grown > 2<<20 {
			t.Errorf("%d bytes are left behind", grown)
		}
		up.wantNoBlame(t)
		r.wantDrops()
		r.end()
		_ = forwarder.Close()
		_ = up.Close()
		if n := first.open() + second.open(); n != 0 {
			t.Errorf("%d upstream sockets are open at the end", n)
		}
	})
}

// discard is a device that takes everything.
type discard struct{}

func (discard) writePacket([]byte) error { return nil }

// manyFlows opens associations, each of which sends a datagram and gets it back, and lets them become idle.
func (r *door) manyFlows(n int) {
	r.t.Helper()
	answered := r.counters.packets[directionIn].Load()
	for i := range n {
		source := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i / 1000), 1}), uint16(1024+i%1000))
		r.handle(packetOf(r.t, "ping", source, target4))
		if i%100 == 99 { // a burst of them, not all at once
			synctest.Wait()
		}
	}
	r.wantAnswers(answered + uint64(n))
	if open := r.tally.opened.Load() - r.tally.closed.Load(); open != int32(n) {
		r.t.Errorf("%d flows are open, want %d", open, n)
	}
	time.Sleep(idleOther + sweepEvery)
	synctest.Wait()
	if open := r.tally.opened.Load() - r.tally.closed.Load(); open != 0 {
		r.t.Errorf("%d flows are open, want none", open)
	}
}

// manyQueries asks for some names again and again, as applications do.
func (r *door) manyQueries(n int) {
	r.t.Helper()
	answered := r.counters.packets[directionIn].Load()
	for i := range n {
		source := netip.AddrPortFrom(host4.Addr(), uint16(1024+i%1000))
		name := fmt.Sprintf("n%d.example.", i%(n/4))
		r.handle(packetOf(r.t, dnsQuery(r.t, uint16(i), name), source, dns4))
		if i%200 == 199 {
			synctest.Wait()
		}
	}
	r.wantAnswers(answered + uint64(n))
}

func (r *door) wantAnswers(n uint64) {
	r.t.Helper()
	if got := r.counters.packets[directionIn].Load(); got != n {
		r.t.Errorf("%d answers, want %d", got, n)
	}
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
