package ippacket

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Protocols, as IPv4 and IPv6 number them.
const (
	ProtocolICMP   = 1
	ProtocolTCP    = 6
	ProtocolUDP    = 17
	ProtocolICMPv6 = 58
)

// Sizes of headers.
const (
	header4      = 20
	header6      = 40
	headerUDP    = 8
	headerICMP   = 8
	maxTotal     = 65535 // of a packet; of the payload for IPv6
	defaultTTL   = 64
	minMTU4      = 576 // what every host takes (RFC 1122, section 3.3.2)
	minMTU6      = 1280
	maxExtension = 8 // headers in a chain; nobody sends more than three
)

var (
	// ErrMalformed says that a packet is cut short, or that a header lies.
	ErrMalformed = errors.New("malformed packet")
	// ErrTooBig says that a packet would be longer than IP allows.
	ErrTooBig = errors.New("packet too big")
)

// Packet is one IP packet, taken apart. Slices are those of the packet that was parsed.
type Packet struct {
	Source, Target netip.Addr
	Protocol       uint8  // of Payload; of the whole that a fragment is of
	Payload        []byte // without IP headers and extensions
	Fragment       Fragment
	Whole          []byte // everything, without what stood behind the packet
}

// Fragment is the place of a fragment in its whole. The zero value is no fragment.
type Fragment struct {
	ID     uint32
	Offset int // in bytes
	More   bool
}

// IsFragment reports whether the packet is only a part of one.
func (p *Packet) IsFragment() bool { return p.Fragment.More || p.Fragment.Offset > 0 }

// Parse takes a packet apart. It does not verify checksums: a packet from this host's kernel has only begun
// the sum of its payload, and is not damaged on its way.
func Parse(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, ErrMalformed
	}
	switch b[0] >> 4 {
	case 4:
		return parse4(b)
	case 6:
		return parse6(b)
	}
	return Packet{}, ErrMalformed
}

func parse4(b []byte) (Packet, error) {
	if len(b) < header4 {
		return Packet{}, ErrMalformed
	}
	header := int(b[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if header < header4 || total < header || total > len(b) {
		return Packet{}, ErrMalformed
	}
	p := Packet{
		Source:   netip.AddrFrom4([4]byte(b[12:16])),
		Target:   netip.AddrFrom4([4]byte(b[16:20])),
		Protocol: b[9],
		Payload:  b[header:total:total],
		Whole:    b[:total:total],
	}
	place := binary.BigEndian.Uint16(b[6:])
	const moreFragments, offset = 0x2000, 0x1fff
	if place&(moreFragments|offset) != 0 {
		p.Fragment = Fragment{
			ID:     uint32(binary.BigEndian.Uint16(b[4:])),
			Offset: int(place&offset) * 8,
			More:   place&moreFragments != 0,
		}
	}
	return p, nil
}

func parse6(b []byte) (Packet, error) {
	if len(b) < header6 {
		return Packet{}, ErrMalformed
	}
	total := header6 + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) { // length 0 is that of a jumbogram, which no TUN device carries
		return Packet{}, ErrMalformed
	}
	p := Packet{
		Source:   netip.AddrFrom16([16]byte(b[8:24])),
		Target:   netip.AddrFrom16([16]byte(b[24:40])),
		Protocol: b[6],
		Payload:  b[header6:total:total],
		Whole:    b[:total:total],
	}
	// Such an address would be taken for plain IPv4 by everybody behind us, and never belongs on a wire.
	if p.Source.Is4In6() || p.Target.Is4In6() {
		return Packet{}, ErrMalformed
	}
	return p, p.skipExtensions()
}

// Extension headers of IPv6 (RFC 8200, section 4).
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extDestination = 60
)

// skipExtensions moves Protocol and Payload behind the extension headers, up to a fragment header: what is
// behind that one belongs to the whole.
func (p *Packet) skipExtensions() error {
	for range maxExtension {
		size := 0
		switch p.Protocol {
		case extHopByHop, extDestination:
			size = extensionSize(p.Payload)
		case extRouting:
			// With segments left, the target is not the one in the header (and RFC 5095 forbids the only kind
			// that ever mattered).
			if size = extensionSize(p.Payload); size > 0 && p.Payload[3] != 0 {
				return ErrMalformed
			}
		case extFragment:
			if size = headerFragment; len(p.Payload) >= size {
				p.cutFragment()
			}
		default:
			return nil
		}
		if size == 0 || len(p.Payload) < size {
			return ErrMalformed
		}
		p.Protocol, p.Payload = p.Payload[0], p.Payload[size:]
		if p.IsFragment() {
			return nil
		}
	}
	return ErrMalformed
}

const headerFragment = 8

// extensionSize is 0 for one that is cut short.
func extensionSize(b []byte) int {
	if len(b) < 8 {
		return 0
	}
	return (int(b[1]) + 1) * 8
}

// cutFragment reads the fragment header. A fragment that is all of its packet (RFC 6946) stays none.
func (p *Packet) cutFragment() {
	place := binary.BigEndian.Uint16(p.Payload[2:])
	if place&^6 == 0 {
		return
	}
	p.Fragment = Fragment{
		ID:     binary.BigEndian.Uint32(p.Payload[4:]),
		Offset: int(place &^ 7),
		More:   place&1 != 0,
	}
}

// appendHeader appends an IP header without options for a payload of that size. The family is the source's.
func appendHeader(b []byte, h header, payload int) ([]byte, error) {
	if h.source.Is4() != h.target.Is4() || !h.source.IsValid() || !h.target.IsValid() {
		return b, ErrMalformed
	}
	if h.source.Is4() {
		return appendHeader4(b, h, payload)
	}
	if payload > maxTotal {
		return b, ErrTooBig
	}
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(payload))
	b = append(b, h.protocol, defaultTTL)
	source, target := h.source.As16(), h.target.As16()
	return append(append(b, source[:]...), target[:]...), nil
}

// header is what differs between the packets that we build.
type header struct {
	source, target netip.Addr
	protocol       uint8
	id             uint16 // IPv4's alone
}

func appendHeader4(b []byte, h header, payload int) ([]byte, error) {
	if header4+payload > maxTotal {
		return b, ErrTooBig
	}
	start := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(header4+payload))
	b = binary.BigEndian.AppendUint16(b, h.id)
	b = append(b, 0, 0, defaultTTL, h.protocol, 0, 0) // may be fragmented on
	source, target := h.source.As4(), h.target.As4()
	b = append(append(b, source[:]...), target[:]...)
	binary.BigEndian.PutUint16(b[start+10:], finish(sum(0, b[start:])))
	return b, nil
}
