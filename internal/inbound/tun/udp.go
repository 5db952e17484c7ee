package tun

import (
	"net/netip"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/ippacket"
)

// Ports with rules of their own.
const (
	portDNS  = 53
	portQUIC = 443
)

// For how long an association may carry nothing. A query is answered once; QUIC connections keep quiet for
// long and break when their address changes.
const (
	idleDNS   = 10 * time.Second
	idleQUIC  = 120 * time.Second
	idleOther = 60 * time.Second
)

// Outline's server reads a Shadowsocks packet of at most 4088 bytes whole. Around the payload there are a
// salt of up to 32 bytes, a tag of 16 and the address.
const (
	maxSealed   = 4088
	maxPayload4 = maxSealed - 32 - 16 - 7
	maxPayload6 = maxSealed - 32 - 16 - 19
)

func idleOf(port uint16) time.Duration {
	switch port {
	case portDNS:
		return idleDNS
	case portQUIC:
		return idleQUIC
	}
	return idleOther
}

// maxPayload is the largest datagram that an upstream can carry to or from an address of a's family.
func maxPayload(a netip.Addr) int {
	if a.Is4() {
		return maxPayload4
	}
	return maxPayload6
}

// largestPacket is the IP packet around maxPayload.
func largestPacket(a netip.Addr) int {
	if a.Is4() {
		return maxPayload4 + 20 + 8
	}
	return maxPayload6 + 40 + 8
}

// handleUDP takes a whole packet of UDP.
func (d *datagrams) handleUDP(p *ippacket.Packet) {
	u, err := p.UDP()
	if err != nil || u.Source.Port() == 0 || u.Target.Port() == 0 {
		d.counters.dropped(dropMalformed)
		return
	}
	if !p.MayAnswer() || p.Target.IsLoopback() {
		d.counters.dropped(dropRefused)
		return
	}
	s := d.settings()
	if u.Target.Port() == portDNS && s.DNS != nil {
		d.handleQuery(s, p, &u)
		return
	}
	if why := d.forward(s, &u); why.isRefusal() {
		d.refuse(p, why)
	} else if why < dropReasons {
		d.counters.dropped(why)
	}
}

// forward gives a datagram to the association of its source. It returns why it does not, or dropReasons.
func (d *datagrams) forward(s *Settings, u *ippacket.UDP) drop {
	now, idle := time.Now(), idleOf(u.Target.Port())
	a := d.table.find(u.Source, now, idle)
	if why := refusal(s, u, a); why < dropReasons {
		return why
	}
	if a == nil && d.draining() {
		return dropRefused
	}
	if a == nil {
		a = d.open(s, u.Source, now, idle)
	}
	switch {
	case a == nil:
		return dropFull
	case !a.push(u):
		return dropQueue
	}
	return dropReasons
}

// isRefusal reports whether the application is told of the drop: it need not send the same again.
func (d drop) isRefusal() bool { return d == dropRefused || d == dropNoUpstream || d == dropSize }

// refusal is why a datagram is to be refused, or dropReasons. a is the association of its source, or nil.
func refusal(s *Settings, u *ippacket.UDP, a *association) drop {
	switch {
	case s.Packet == nil:
		return dropRefused
	case !s.usable(protoUDP):
		return dropNoUpstream
	case u.Target.Port() == portQUIC && s.refusesQUIC(a):
		return dropRefused
	case len(u.Payload) > maxPayload(u.Target.Addr()):
		return dropSize
	}
	return dropReasons
}

// refusesQUIC decides about a datagram to port 443. Browsers have a socket for each connection.
func (s *Settings) refusesQUIC(a *association) bool {
	switch s.UDP443 {
	case UDP443Allow:
		return false
	case UDP443Block:
		return true
	case UDP443Auto:
	}
	return a == nil && s.QUIC != nil && !s.QUIC()
}
