package tun

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// newBench returns datagrams whose upstream sockets announce every datagram, and what waits for one.
func newBench(tb testing.TB, s Settings) (d *datagrams, delivered chan struct{}) {
	tb.Helper()
	delivered = make(chan struct{}, maxQueued)
	s.Packet = &network{echo: func(*upSocket, []byte, net.Addr) { delivered <- struct{}{} }}
	d = newDatagrams(tb.Context(), datagramOptions{
		settings: func() *Settings { return &s }, draining: new(atomic.Bool).Load,
		out: discard{}, counters: new(Counters),
		observer: unobserved{}, gate: openGate{}, log: slog.New(slog.DiscardHandler),
	})
	tb.Cleanup(d.close)
	return d, delivered
}

func TestPacketsCostNoAllocations(t *testing.T) {
	d, delivered := newBench(t, Settings{})
	packet := packetOf(t, strings.Repeat("x", 1200), host4, target4)
	send := func() {
		d.handle(packet)
		<-delivered
	}
	send()
	if allocs := testing.AllocsPerRun(1000, send); allocs != 0 {
		t.Errorf("a datagram to an upstream costs %v allocations, want 0", allocs)
	}
	a := d.table.find(host4, time.Now(), 0)
	payload, source := make([]byte, 1200), net.Addr(socksaddr.FromAddrPort(target4))
	if allocs := testing.AllocsPerRun(1000, func() { _, _ = a.WriteTo(payload, source) }); allocs != 0 {
		t.Errorf("a datagram to the host costs %v allocations, want 0", allocs)
	}
	blocked, _ := newBench(t, Settings{UDP443: UDP443Block})
	quic := packetOf(t, strings.Repeat("x", 1200), host4, quic4)
	if allocs := testing.AllocsPerRun(1000, func() { blocked.handle(quic) }); allocs != 0 {
		t.Errorf("a refusal costs %v allocations, want 0", allocs)
	}
}

// BenchmarkSend is the whole way of a datagram from the device to an upstream socket, one at a time.
func BenchmarkSend(b *testing.B) {
	d, delivered := newBench(b, Settings{})
	packet := packetOf(b, strings.Repeat("x", 1200), host4, target4)
	b.ReportAllocs()
	for b.Loop() {
		d.handle(packet)
		<-delivered
	}
}

// BenchmarkSendBurst is the same in bursts of 64, which is how a busy device delivers them.
func BenchmarkSendBurst(b *testing.B) {
	d, delivered := newBench(b, Settings{})
	packet := packetOf(b, strings.Repeat("x", 1200), host4, target4)
	b.ReportAllocs()
	for b.Loop() {
		for range 64 {
			d.handle(packet)
		}
		for range 64 {
			<-delivered
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/packet")
}

// BenchmarkReceive is the way of an answer from an upstream socket to the device.
func BenchmarkReceive(b *testing.B) {
	d, delivered := newBench(b, Settings{})
	d.handle(packetOf(b, "x", host4, target4))
	<-delivered
	a := d.table.find(host4, time.Now(), 0)
	payload, source := make([]byte, 1200), net.Addr(socksaddr.FromAddrPort(target4))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.WriteTo(payload, source); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkManyAssociations is BenchmarkSend for one association after the other.
func BenchmarkManyAssociations(b *testing.B) {
	const count = 4096
	d, delivered := newBench(b, Settings{})
	packets := make([][]byte, count)
	for i := range packets {
		source := netip.AddrPortFrom(host4.Addr(), uint16(1024+i))
		packets[i] = packetOf(b, strings.Repeat("x", 1200), source, target4)
		d.handle(packets[i])
		<-delivered
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		d.handle(packets[i%count])
		i++
		<-delivered
	}
}
