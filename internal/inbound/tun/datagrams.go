package tun

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/ippacket"
)

// sweepEvery is how often idle associations and incomplete fragments are looked for, while there are any.
const sweepEvery = 2500 * time.Millisecond

// datagrams takes what is not TCP: UDP goes to an association of its source, a DNS query to the resolver, an
// echo request is answered, and the rest is dropped and counted.
//
// handle never waits. An association has goroutines for its two directions, which begin and end with it, and
// a DNS query has one until it is answered; both are bounded. One more, while there are any, ends those that
// are idle.
type datagrams struct {
	datagramOptions
	ctx  context.Context //nolint:containedctx // of associations and queries
	stop context.CancelFunc

	table   associations
	queued  atomic.Int64 // bytes that wait in associations
	asking  atomic.Int64 // DNS queries under way
	ids     atomic.Uint32
	packets sync.Pool // of *queuedPacket
	buffers sync.Pool // of *[bufferSize]byte, for packets to be written

	sweeping atomic.Bool // a goroutine looks for what is idle

	mu        sync.Mutex
	fragments ippacket.Reassembler
}

// datagramOptions are what datagrams work with.
type datagramOptions struct {
	settings func() *Settings
	draining func() bool // no new associations
	out      packetWriter
	counters *Counters
	observer Observer
	gate     Gate
	log      *slog.Logger
}

var _ packetHandler = (*datagrams)(nil)

// bufferSize is the largest packet that can be built.
const bufferSize = 40 + 65535

// newDatagrams returns the handler of a device. Flows get the values of ctx; they end with close.
func newDatagrams(ctx context.Context, o datagramOptions) *datagrams {
	d := &datagrams{datagramOptions: o}
	d.ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	d.packets.New = func() any { return new(queuedPacket) }
	d.buffers.New = func() any { return new([bufferSize]byte) }
	return d
}

// close ends everything, and when it returns nothing runs any more. handle drops what comes later.
func (d *datagrams) close() {
	d.stop()
	d.table.close()
}

// tend has somebody look for what is idle: there is something now that may become it.
func (d *datagrams) tend() {
	if d.sweeping.CompareAndSwap(false, true) && !d.table.start(d.sweep) {
		d.sweeping.Store(false)
	}
}

// sweep works until there is nothing left that could become idle, so that an idle host is not woken.
func (d *datagrams) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case now := <-tick.C:
			if d.sweepOnce(now) > 0 {
				continue
			}
		}
		d.sweeping.Store(false)
		// What came just before took it that somebody looks; what comes now calls for one.
		if d.sweepOnce(time.Now()) == 0 || !d.sweeping.CompareAndSwap(false, true) {
			return
		}
	}
}

// sweepOnce returns how much there is left.
func (d *datagrams) sweepOnce(now time.Time) int { return d.table.sweep(now) + d.expire(now) }

// handle implements packetHandler.
func (d *datagrams) handle(packet []byte) {
	p, err := ippacket.Parse(packet)
	if err != nil {
		d.counters.dropped(dropMalformed)
		return
	}
	if p.IsFragment() {
		whole, ok := d.reassemble(&p)
		if !ok {
			return
		}
		p = whole
	}
	switch {
	case p.Protocol == ippacket.ProtocolUDP:
		d.handleUDP(&p)
	case p.IsEcho():
		d.handleEcho(&p)
	default:
		d.counters.dropped(dropProtocol)
	}
}

// reassemble returns the whole once p was the last fragment of one.
func (d *datagrams) reassemble(p *ippacket.Packet) (ippacket.Packet, bool) {
	if p.Protocol != ippacket.ProtocolUDP && p.Protocol != icmpOf(p.Source) {
		d.counters.dropped(dropProtocol)
		return ippacket.Packet{}, false
	}
	d.mu.Lock()
	whole, ok, err := d.fragments.Add(p, time.Now())
	lost := d.fragments.Lost()
	d.mu.Unlock()
	if err != nil {
		lost++
	}
	d.lostFragments(lost)
	if !ok {
		d.tend()
	}
	return whole, ok
}

// expire gives up fragments and returns how many packets still wait for some.
func (d *datagrams) expire(now time.Time) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fragments.Expire(now)
	d.lostFragments(d.fragments.Lost())
	return d.fragments.Pending()
}

func (d *datagrams) lostFragments(n int) {
	for range n {
		d.counters.dropped(dropFragment)
	}
}

// write sends a packet to the host and counts it.
func (d *datagrams) write(packet []byte) {
	if err := d.out.writePacket(packet); err != nil {
		d.counters.failed(opWrite)
		return
	}
	d.counters.moved(directionIn, len(packet))
}

// reply sends the host a datagram.
func (d *datagrams) reply(u ippacket.UDP) error {
	buf := d.buffers.Get().(*[bufferSize]byte)
	defer d.buffers.Put(buf)
	packet, err := u.Append(buf[:0], uint16(d.ids.Add(1)))
	if err != nil {
		return err
	}
	d.write(packet)
	return nil
}

// icmpOf is the protocol of ICMP in a's family.
func icmpOf(a netip.Addr) uint8 {
	if a.Is4() {
		return ippacket.ProtocolICMP
	}
	return ippacket.ProtocolICMPv6
}
