package tun

import "github.com/outline-cli-ws/outline-cli-ws/internal/ippacket"

// handleEcho answers an echo request as its target would, since Shadowsocks carries no ICMP. While no
// upstream is usable there is no answer, so that ping tells whether the tunnel works.
func (d *datagrams) handleEcho(p *ippacket.Packet) {
	switch s := d.settings(); {
	case !p.MayAnswer() || p.Target.IsLoopback():
		d.counters.dropped(dropRefused)
	case !s.usable(protoTCP) && !s.usable(protoUDP):
		d.counters.dropped(dropNoUpstream)
	default:
		buf := d.buffers.Get().(*[bufferSize]byte)
		defer d.buffers.Put(buf)
		if reply, err := p.AppendEchoReply(buf[:0]); err == nil {
			d.write(reply)
		}
	}
}

// refuse drops a packet and tells its source so, where that is allowed. The application learns at once
// instead of waiting.
func (d *datagrams) refuse(p *ippacket.Packet, why drop) {
	d.counters.dropped(why)
	if !p.MayAnswer() {
		return
	}
	reason, mtu := ippacket.PortUnreachable, 0
	if why == dropSize {
		reason, mtu = ippacket.TooBig, largestPacket(p.Source)
	}
	buf := d.buffers.Get().(*[bufferSize]byte)
	defer d.buffers.Put(buf)
	if answer, err := p.AppendError(buf[:0], reason, mtu); err == nil {
		d.write(answer)
	}
}
