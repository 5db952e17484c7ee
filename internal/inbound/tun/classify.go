package tun

import "encoding/binary"

// Parts of IP headers (RFC 791, RFC 8200).
const (
	ipv4Min = 20
	ipv6Len = 40

	protocolTCP      = 6
	protocolFragment = 44 // IPv6's fragment header
)

// class is who takes a packet.
type class uint8

// Classes of packets.
const (
	malformed class = iota // not an IP packet
	tcpv4
	tcpv6
	otherPacket
)

// classify finds out who takes a packet that was read from the device. A fragment belongs to whom its first
// one would.
func classify(packet []byte) class {
	switch {
	case len(packet) >= ipv4Min && packet[0]>>4 == 4:
		return classify4(packet)
	case len(packet) >= ipv6Len && packet[0]>>4 == 6:
		return classify6(packet)
	}
	return malformed
}

func classify4(packet []byte) class {
	headerLen := int(packet[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(packet[2:]))
	switch {
	case headerLen < ipv4Min || headerLen > total || total > len(packet):
		return malformed
	case packet[9] == protocolTCP:
		return tcpv4
	}
	return otherPacket
}

// classify6 looks behind the extension headers, each at least eight bytes long.
func classify6(packet []byte) class {
	if ipv6Len+int(binary.BigEndian.Uint16(packet[4:])) > len(packet) {
		return malformed
	}
	next, rest := packet[6], packet[ipv6Len:]
	for isExtension(next) {
		if len(rest) < 8 {
			return malformed
		}
		size := 8
		if next != protocolFragment {
			size += int(rest[1]) * 8
		}
		if size > len(rest) {
			return malformed
		}
		next, rest = rest[0], rest[size:]
	}
	if next == protocolTCP {
		return tcpv6
	}
	return otherPacket
}

// isExtension reports whether another header follows: hop-by-hop, routing, fragment, destination options.
func isExtension(next uint8) bool {
	return next == 0 || next == 43 || next == protocolFragment || next == 60
}
