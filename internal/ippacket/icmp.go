package ippacket

import (
	"encoding/binary"
	"net/netip"
)

// Types and codes of ICMP and ICMPv6.
const (
	typeEchoReply4   = 0
	typeUnreachable4 = 3
	typeEcho4        = 8

	typeUnreachable6 = 1
	typeTooBig6      = 2
	typeEcho6        = 128
	typeEchoReply6   = 129
	firstInfo6       = 128 // below it are errors
)

// Reason is why a packet is answered with an ICMP error.
type Reason uint8

// Reasons.
const (
	PortUnreachable Reason = iota // nobody takes datagrams for that port
	Prohibited                    // a rule forbids them
	TooBig                        // IPv4: fragmentation needed; IPv6: packet too big
)

// wire is the type and the code of the reason.
func (r Reason) wire(source netip.Addr) (kind, code byte) {
	if source.Is4() {
		return typeUnreachable4, [...]byte{PortUnreachable: 3, Prohibited: 13, TooBig: 4}[r]
	}
	if r == TooBig {
		return typeTooBig6, 0
	}
	return typeUnreachable6, [...]byte{PortUnreachable: 4, Prohibited: 1}[r]
}

// IsEcho reports whether the whole packet is an echo request.
func (p *Packet) IsEcho() bool {
	if p.IsFragment() || len(p.Payload) < headerICMP || p.Payload[1] != 0 {
		return false
	}
	if p.Source.Is4() {
		return p.Protocol == ProtocolICMP && p.Payload[0] == typeEcho4
	}
	return p.Protocol == ProtocolICMPv6 && p.Payload[0] == typeEcho6
}

// AppendEchoReply appends the answer to an echo request to b. The sum is the request's with the type changed
// (RFC 1624), so that a damaged request makes a damaged answer.
func (p *Packet) AppendEchoReply(b []byte) ([]byte, error) {
	b, err := appendHeader(b, header{p.Target, p.Source, p.Protocol, 0}, len(p.Payload))
	if err != nil {
		return b, err
	}
	start := len(b)
	b = append(b, p.Payload...)
	old, next := uint64(typeEcho4), uint64(typeEchoReply4)
	if !p.Source.Is4() {
		old, next = typeEcho6, typeEchoReply6
	}
	b[start] = byte(next)
	field := b[start+2 : start+4]
	total := uint64(^binary.BigEndian.Uint16(field)) + uint64(^uint16(old<<8)) + next<<8
	binary.BigEndian.PutUint16(field, finish(total))
	return b, nil
}

// MayAnswer reports whether an ICMP error about the packet is allowed (RFC 1122, section 3.2.2; RFC 4443,
// section 2.4): never about another error, about what went to or came from a group, or about a later
// fragment.
func (p *Packet) MayAnswer() bool {
	if p.Fragment.Offset > 0 || !isHost(p.Source) || !isHost(p.Target) {
		return false
	}
	switch p.Protocol {
	case ProtocolICMP:
		return len(p.Payload) > 0 && p.Payload[0] == typeEcho4
	case ProtocolICMPv6:
		return len(p.Payload) > 0 && p.Payload[0] >= firstInfo6
	}
	return true
}

// isHost reports whether a is the address of one host, as far as an address tells.
func isHost(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// AppendError appends an ICMP error about the packet to b, from its target to its source. mtu is the size of
// the largest packet that would pass, for TooBig alone. Whether to answer at all is MayAnswer's to say.
func (p *Packet) AppendError(b []byte, why Reason, mtu int) ([]byte, error) {
	protocol, room := uint8(ProtocolICMP), minMTU4-header4-headerICMP
	if !p.Source.Is4() {
		protocol, room = ProtocolICMPv6, minMTU6-header6-headerICMP
	}
	quote := p.Whole[:min(len(p.Whole), room)]
	size := headerICMP + len(quote)
	b, err := appendHeader(b, header{p.Target, p.Source, protocol, 0}, size)
	if err != nil {
		return b, err
	}
	start := len(b)
	kind, code := why.wire(p.Source)
	b = append(b, kind, code, 0, 0)
	if why != TooBig {
		mtu = 0
	}
	if p.Source.Is4() { // 16 bits, behind 16 that are unused
		mtu = min(mtu, maxTotal)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(mtu))
	b = append(b, quote...)
	var initial uint64 // RFC 792 has no pseudo header
	if protocol == ProtocolICMPv6 {
		initial = pseudo(p.Target, p.Source, protocol, size)
	}
	binary.BigEndian.PutUint16(b[start+2:], finish(sum(initial, b[start:])))
	return b, nil
}
