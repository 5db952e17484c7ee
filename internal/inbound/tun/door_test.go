package tun

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/outline-cli-ws/outline-cli-ws/internal/ippacket"
	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// Addresses of the host and of those it talks to.
var (
	host4   = netip.MustParseAddrPort("172.19.0.1:5000")
	host6   = netip.MustParseAddrPort("[fd00:77::1]:5000")
	target4 = netip.MustParseAddrPort("203.0.113.7:7000")
	target6 = netip.MustParseAddrPort("[2001:db8::7]:7000")
	other4  = netip.MustParseAddrPort("198.51.100.9:9000")
	quic4   = netip.MustParseAddrPort("203.0.113.7:443")
	dns4    = netip.MustParseAddrPort("8.8.8.8:53")
	dns6    = netip.MustParseAddrPort("[2001:4860:4860::8888]:53")
)

// sentTo is a datagram that an upstream was given.
type sentTo struct{ payload, target string }

// network is the upstreams. Its sockets note what they are given.
type network struct {
	dial func(ctx context.Context) error                    // may be nil
	echo func(s *upSocket, payload []byte, target net.Addr) // in place of notes; may be nil
	live atomic.Int64

	mu      sync.Mutex
	sockets []*upSocket
}

// ListenPacket implements transport.PacketListener.
func (n *network) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if n.dial != nil {
		if err := n.dial(ctx); err != nil {
			return nil, err
		}
	}
	s := &upSocket{network: n, in: make(chan from, 64), closed: make(chan struct{})}
	n.live.Add(1)
	if n.echo != nil {
		return s, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sockets = append(n.sockets, s)
	return s, nil
}

func (n *network) socket(i int) *upSocket {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sockets[i]
}

func (n *network) opened() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sockets)
}

// open counts the sockets that are open.
func (n *network) open() int { return int(n.live.Load()) }

type from struct {
	payload []byte
	source  net.Addr
}

// upSocket is a socket of the network.
type upSocket struct {
	net.PacketConn
	network *network
	in      chan from
	next    *from // the reader's
	once    sync.Once
	closed  chan struct{}

	mu   sync.Mutex
	sent []sentTo
}

func (s *upSocket) WriteTo(p []byte, target net.Addr) (int, error) {
	if s.network.echo != nil {
		s.network.echo(s, p, target)
		return len(p), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, sentTo{string(p), target.String()})
	return len(p), nil
}

func (s *upSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	if err := s.WaitRead(); err != nil {
		return 0, nil, err
	}
	f := s.next
	s.next = nil
	return copy(p, f.payload), f.source, nil
}

// WaitRead implements transport.WaitReader, so that whoever waits needs no buffer.
func (s *upSocket) WaitRead() error {
	if s.next != nil {
		return nil
	}
	select {
	case f := <-s.in:
		s.next = &f
		return nil
	case <-s.closed:
		return net.ErrClosed
	}
}

func (s *upSocket) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.network.live.Add(-1)
	})
	return nil
}

// answer lets a datagram arrive.
func (s *upSocket) answer(payload string, source netip.AddrPort) {
	s.in <- from{[]byte(payload), socksaddr.FromAddrPort(source)}
	synctest.Wait()
}

func (s *upSocket) want(t *testing.T, want ...sentTo) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.sent, want) {
		t.Errorf("upstream got %v, want %v", s.sent, want)
	}
	s.sent = nil
}

// host is the other side of the device: it keeps what is written.
type host struct {
	mu      sync.Mutex
	packets [][]byte
	err     error
}

func (h *host) writePacket(packet []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	h.packets = append(h.packets, slices.Clone(packet))
	return nil
}

// take returns what came since the last call.
func (h *host) take() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	packets := h.packets
	h.packets = nil
	return packets
}

// door is datagrams at work between a host and a network.
type door struct {
	*datagrams
	t        *testing.T
	settings Settings
	draining atomic.Bool
	host     *host
	network  *network
	counters *Counters
	tally    *tally
}

// newDoor starts a door, which the test ends.
func newDoor(t *testing.T) *door {
	t.Helper()
	r := &door{t: t, host: new(host), network: new(network), counters: new(Counters), tally: new(tally)}
	r.settings.Packet = r.network
	r.datagrams = newDatagrams(t.Context(), datagramOptions{
		settings: func() *Settings { return &r.settings }, draining: r.draining.Load,
		out: r.host, counters: r.counters,
		observer: r.tally, gate: openGate{}, log: slog.New(slog.DiscardHandler),
	})
	return r
}

// end stops the door. Nothing of it may be left.
func (r *door) end() {
	r.t.Helper()
	r.close()
	if n := r.network.open(); n != 0 {
		r.t.Errorf("%d upstream sockets are open after the end", n)
	}
	if opened, closed := r.tally.opened.Load(), r.tally.closed.Load(); opened != closed {
		r.t.Errorf("%d flows opened, %d closed", opened, closed)
	}
	if n := r.queued.Load(); n != 0 {
		r.t.Errorf("%d bytes are still counted as queued", n)
	}
	if n := r.asking.Load(); n != 0 {
		r.t.Errorf("%d queries are still counted", n)
	}
}

// inDoor runs test in a bubble.
func inDoor(t *testing.T, test func(t *testing.T, r *door)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newDoor(t)
		test(t, r)
		r.end()
	})
}

// send lets the host send a datagram, and waits until nothing moves any more.
func (r *door) send(payload string, source, target netip.AddrPort) {
	r.t.Helper()
	r.handle(packetOf(r.t, payload, source, target))
	synctest.Wait()
}

func packetOf(t testing.TB, payload string, source, target netip.AddrPort) []byte {
	t.Helper()
	b, err := ippacket.UDP{Source: source, Target: target, Payload: []byte(payload)}.Append(nil, 9)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantDatagram demands that the host got exactly this since the last look.
func (r *door) wantDatagram(payload string, source, target netip.AddrPort) {
	r.t.Helper()
	packets := r.host.take()
	if len(packets) != 1 {
		r.t.Fatalf("host got %d packets, want 1", len(packets))
	}
	p, err := ippacket.Parse(packets[0])
	if err != nil {
		r.t.Fatal(err)
	}
	u, err := p.UDP()
	if err != nil || string(u.Payload) != payload || u.Source != source || u.Target != target {
		r.t.Errorf("host got %q from %v to %v (%v), want %q from %v to %v",
			u.Payload, u.Source, u.Target, err, payload, source, target)
	}
}

// wantError demands an ICMP error of that type and code, or nothing where kind is negative.
func (r *door) wantError(kind, code int) {
	r.t.Helper()
	packets := r.host.take()
	if kind < 0 {
		if len(packets) != 0 {
			r.t.Errorf("host got %d packets, want none", len(packets))
		}
		return
	}
	if len(packets) != 1 {
		r.t.Fatalf("host got %d packets, want 1", len(packets))
	}
	p, err := ippacket.Parse(packets[0])
	if err != nil || p.Protocol != icmpOf(p.Source) {
		r.t.Fatalf("host got protocol %d, %v, want ICMP", p.Protocol, err)
	}
	if int(p.Payload[0]) != kind || int(p.Payload[1]) != code {
		r.t.Errorf("type, code = %d, %d, want %d, %d", p.Payload[0], p.Payload[1], kind, code)
	}
}

// wantDrops demands these drops since the last call, and no others.
func (r *door) wantDrops(want ...drop) {
	r.t.Helper()
	var got []drop
	for d := range dropReasons {
		for range r.counters.drops[d].Swap(0) {
			got = append(got, d)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Errorf("drops = %v, want %v", got, want)
	}
}

// cut splits a packet without options into two fragments, the first with that much payload.
func cut(b []byte, size int) (first, last []byte) {
	if b[0]>>4 == 6 {
		return fragment6(b[:40], b[40:40+size], 1), fragment6(b[:40], b[40+size:], uint16(size))
	}
	first = append(slices.Clone(b[:20]), b[20:20+size]...)
	last = append(slices.Clone(b[:20]), b[20+size:]...)
	binary.BigEndian.PutUint16(first[2:], uint16(len(first)))
	binary.BigEndian.PutUint16(last[2:], uint16(len(last)))
	binary.BigEndian.PutUint16(first[6:], 0x2000)
	binary.BigEndian.PutUint16(last[6:], uint16(size/8))
	return first, last
}

func fragment6(head, data []byte, place uint16) []byte {
	b := slices.Clone(head)
	extension := []byte{b[6], 0, byte(place >> 8), byte(place), 0, 0, 0, 5}
	b[6] = 44
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(data)))
	return append(append(b, extension...), data...)
}

var errDown = errors.New("no upstream")
