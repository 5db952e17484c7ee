package tun

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/ippacket"
	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// association is the UDP flow of one address and port of the host: whatever it sends goes out of one upstream
// socket, and whatever comes back, from anybody, goes to it (RFC 4787, endpoint-independent both ways). It is
// the client's socket that relay.Packets reads and writes.
type association struct {
	door   *datagrams
	source netip.AddrPort
	queue  queue
	cancel context.CancelFunc
	names  socksaddr.Interner // the reader's

	// Of the table, and guarded by its mutex.
	used time.Time
	idle time.Duration // for how long it may be unused
	all  *list.Element // in the order of use
	own  *list.Element // the same among those of its client
}

var (
	_ net.PacketConn       = (*association)(nil)
	_ transport.WaitReader = (*association)(nil)
)

var errFamily = errors.New("a datagram from an address that the client cannot have asked")

// open makes an association for source, or returns nil when there is no room.
func (d *datagrams) open(s *Settings, source netip.AddrPort, now time.Time, idle time.Duration) *association {
	ctx, cancel := context.WithCancel(transport.WithClient(d.ctx, source.Addr()))
	a := &association{door: d, source: source, cancel: cancel, used: now, idle: idle}
	a.queue.ready = make(chan struct{}, 1)
	if !d.table.open(a, s.udpLimits(), func() { a.serve(ctx, s.Packet) }) {
		cancel()
		return nil
	}
	d.tend()
	return a
}

// serve asks for room, which may take a moment, and relays. Without room, the packets that wait are dropped,
// and the next one asks again.
func (a *association) serve(ctx context.Context, up transport.PacketListener) {
	defer a.cancel()
	leave, err := a.door.gate.Enter(ctx, protoUDP)
	if err != nil {
		a.door.table.forget(a)
		for range a.drain() {
			a.door.counters.dropped(dropFull)
		}
		return
	}
	defer leave()
	a.relay(ctx, up)
}

// relay moves datagrams until ctx ends.
func (a *association) relay(ctx context.Context, up transport.PacketListener) {
	d := a.door
	began := time.Now()
	d.observer.FlowOpened(protoUDP)
	defer d.observer.FlowClosed(protoUDP)
	result := relay.Packets(ctx, a, up, relay.PacketOptions{Logger: d.log, Dropped: func() {
		d.counters.dropped(dropNoSocket)
		d.counters.failed(opSendUDP)
	}})
	a.drain()
	d.log.DebugContext(ctx, "flow closed", "inbound", inbound, "proto", protoUDP, "client", a.source,
		"dur", time.Since(began), "sent", result.Sent, "received", result.Received)
}

// push queues a datagram for the association's goroutine, and reports whether there was room.
func (a *association) push(u *ippacket.UDP) bool {
	d := a.door
	p := d.packets.Get().(*queuedPacket)
	p.UDP = *u
	p.Payload = append(p.room[:0], u.Payload...)
	if d.queued.Add(p.cost()) > maxQueuedBytes || !a.queue.push(p) {
		a.release(p)
		return false
	}
	return true
}

// release takes back a packet that was counted in.
func (a *association) release(p *queuedPacket) {
	a.door.queued.Add(-p.cost())
	p.Payload = nil
	a.door.packets.Put(p)
}

// drain ends the queue and returns how many packets still waited there.
func (a *association) drain() (dropped int) {
	a.queue.end()
	for p := a.queue.pop(); p != nil; p = a.queue.pop() {
		a.release(p)
		dropped++
	}
	return dropped
}

// WaitRead implements transport.WaitReader.
func (a *association) WaitRead() error { return a.queue.wait() }

// ReadFrom returns the next datagram of the client, and its target.
func (a *association) ReadFrom(b []byte) (int, net.Addr, error) {
	if err := a.queue.wait(); err != nil {
		return 0, nil, err
	}
	p := a.queue.pop()
	if p == nil { // not while there is one reader
		return 0, nil, os.ErrDeadlineExceeded
	}
	defer a.release(p)
	return copy(b, p.Payload), a.names.Intern(socksaddr.FromAddrPort(p.Target)), nil
}

// WriteTo sends the client a payload that came from source.
func (a *association) WriteTo(payload []byte, source net.Addr) (int, error) {
	from, err := socksaddr.FromNetAddr(source)
	if err != nil {
		return 0, err
	}
	if !from.IP().IsValid() || from.IP().Is4() != a.source.Addr().Is4() {
		a.door.counters.dropped(dropMalformed)
		return 0, errFamily
	}
	a.door.table.touch(a, time.Now())
	u := ippacket.UDP{Source: netip.AddrPortFrom(from.IP(), from.Port()), Target: a.source, Payload: payload}
	if err := a.door.reply(u); err != nil {
		a.door.counters.dropped(dropSize)
		return 0, err
	}
	return len(payload), nil
}

// Close implements net.PacketConn.
func (a *association) Close() error {
	a.cancel()
	return nil
}

// LocalAddr implements net.PacketConn: it is the client's socket that this one stands for.
func (a *association) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(a.source) }

// SetDeadline implements net.PacketConn, as far as relay.Packets needs it: one in the past ends the
// association.
func (a *association) SetDeadline(t time.Time) error { return a.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn, as SetDeadline does.
func (a *association) SetReadDeadline(t time.Time) error {
	if t.IsZero() || t.After(time.Now()) {
		return fmt.Errorf("deadline to come: %w", errors.ErrUnsupported)
	}
	a.queue.end()
	return nil
}

// SetWriteDeadline implements net.PacketConn. Writes do not wait.
func (a *association) SetWriteDeadline(time.Time) error { return nil }
