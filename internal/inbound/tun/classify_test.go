package tun

import (
	"encoding/binary"
	"testing"
)

// ipv4Packet returns a packet with that protocol and length of payload.
func ipv4Packet(protocol byte, payload int) []byte {
	b := make([]byte, ipv4Min+payload)
	b[0], b[9] = 0x45, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// ipv6Packet returns a packet with headers behind the first one, each naming the next.
func ipv6Packet(next byte, rest ...byte) []byte {
	b := make([]byte, ipv6Len, ipv6Len+len(rest))
	b[0], b[6] = 0x60, next
	binary.BigEndian.PutUint16(b[4:], uint16(len(rest)))
	return append(b, rest...)
}

func TestClassify(t *testing.T) {
	extension := func(next, length byte) []byte {
		b := make([]byte, 8+8*int(length))
		b[0], b[1] = next, length
		return b
	}
	cut := func(b []byte, n int) []byte { return b[:n] }
	with := func(b []byte, at int, value byte) []byte {
		b[at] = value
		return b
	}
	for name, tc := range map[string]struct {
		packet []byte
		want   class
	}{
		"empty":                      {nil, malformed},
		"one byte":                   {[]byte{0x45}, malformed},
		"version 5":                  {with(ipv4Packet(6, 20), 0, 0x55), malformed},
		"IPv4 TCP":                   {ipv4Packet(6, 20), tcpv4},
		"IPv4 TCP with padding":      {append(ipv4Packet(6, 20), 0, 0), tcpv4},
		"IPv4 UDP":                   {ipv4Packet(17, 8), otherPacket},
		"IPv4 with options":          {with(ipv4Packet(6, 24), 0, 0x46), tcpv4},
		"IPv4 cut":                   {cut(ipv4Packet(6, 20), 39), malformed},
		"IPv4 header cut":            {cut(ipv4Packet(6, 20), 19), malformed},
		"IPv4 header too short":      {with(ipv4Packet(6, 20), 0, 0x44), malformed},
		"IPv4 header beyond the end": {with(ipv4Packet(6, 0), 0, 0x46), malformed},
		"IPv6 TCP":                   {ipv6Packet(6, make([]byte, 20)...), tcpv6},
		"IPv6 ICMP":                  {ipv6Packet(58, make([]byte, 8)...), otherPacket},
		"IPv6 cut":                   {cut(ipv6Packet(6, make([]byte, 20)...), 59), malformed},
		"IPv6 header cut":            {cut(ipv6Packet(6), 39), malformed},
		"IPv6 hop-by-hop, TCP":       {ipv6Packet(0, append(extension(6, 1), make([]byte, 20)...)...), tcpv6},
		"IPv6 fragment of TCP":       {ipv6Packet(44, extension(6, 0)...), tcpv6},
		"IPv6 fragment of UDP":       {ipv6Packet(44, extension(17, 0)...), otherPacket},
		"IPv6 two extensions": {
			ipv6Packet(60, append(extension(43, 0), extension(6, 0)...)...), tcpv6,
		},
		"IPv6 extension cut":            {ipv6Packet(0, 6, 0, 0), malformed},
		"IPv6 extension beyond the end": {ipv6Packet(0, extension(6, 1)[:8]...), malformed},
		"IPv6 nothing follows":          {ipv6Packet(59), otherPacket},
	} {
		t.Run(name, func(t *testing.T) {
			if got := classify(tc.packet); got != tc.want {
				t.Errorf("classify(%x) = %d, want %d", tc.packet, got, tc.want)
			}
		})
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(ipv4Packet(6, 20))
	f.Add(ipv6Packet(0, 6, 0, 0, 0, 0, 0, 0, 0))
	f.Add(ipv6Packet(44, 17, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, packet []byte) {
		version := byte(0)
		if len(packet) > 0 {
			version = packet[0] >> 4
		}
		switch got := classify(packet); {
		case got == tcpv4 && version != 4, got == tcpv6 && version != 6:
			t.Errorf("classify(%x) = %d", packet, got)
		case got != malformed && len(packet) < ipv4Min:
			t.Errorf("classify(%x) = %d, too short for a packet", packet, got)
		}
	})
}
