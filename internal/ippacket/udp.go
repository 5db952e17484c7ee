package ippacket

import (
	"encoding/binary"
	"net/netip"
)

// MaxUDP4 and MaxUDP6 are the largest payloads of UDP.
const (
	MaxUDP4 = maxTotal - header4 - headerUDP
	MaxUDP6 = maxTotal - headerUDP
)

// UDP is one datagram.
type UDP struct {
	Source, Target netip.AddrPort
	Payload        []byte
}

// UDP returns the datagram in a whole packet of ProtocolUDP. The sum is not verified, see [Parse].
func (p *Packet) UDP() (UDP, error) {
	if p.Protocol != ProtocolUDP || p.IsFragment() || len(p.Payload) < headerUDP {
		return UDP{}, ErrMalformed
	}
	size := int(binary.BigEndian.Uint16(p.Payload[4:]))
	if size < headerUDP || size > len(p.Payload) {
		return UDP{}, ErrMalformed
	}
	return UDP{
		Source:  netip.AddrPortFrom(p.Source, binary.BigEndian.Uint16(p.Payload)),
		Target:  netip.AddrPortFrom(p.Target, binary.BigEndian.Uint16(p.Payload[2:])),
		Payload: p.Payload[headerUDP:size:size],
	}, nil
}

// Append appends the packet of the datagram to b, which must not be the payload's. id tells the fragments of
// large IPv4 packets apart, where a router makes some. Addresses of two families are ErrMalformed.
func (u UDP) Append(b []byte, id uint16) ([]byte, error) {
	source, target := u.Source.Addr(), u.Target.Addr()
	size := headerUDP + len(u.Payload)
	b, err := appendHeader(b, header{source, target, ProtocolUDP, id}, size)
	if err != nil {
		return b, err
	}
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, u.Source.Port())
	b = binary.BigEndian.AppendUint16(b, u.Target.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = append(append(b, 0, 0), u.Payload...)
	checksum := finish(sum(pseudo(source, target, ProtocolUDP, size), b[start:]))
	if checksum == 0 { // means "none" on the wire
		checksum = 0xffff
	}
	binary.BigEndian.PutUint16(b[start+6:], checksum)
	return b, nil
}
