package tun

import "encoding/binary"

// virtioLen is the length of struct virtio_net_hdr (linux/virtio_net.h), which stands in front of every
// packet of a device opened with IFF_VNET_HDR.
const virtioLen = 10

// Flags of a virtio header.
const (
	virtioNeedsChecksum = 1 // the checksum field holds the sum of the pseudo header
	virtioChecked       = 2 // the checksum is known to be right
)

// Kinds of super-segments.
const (
	virtioNone  = 0
	virtioTCPv4 = 1
	virtioTCPv6 = 4
)

// virtioHeader says what is left to do to a packet: complete its checksum, cut it into segments. The zero
// value is that of a packet that is complete.
type virtioHeader struct {
	flags          uint8
	kind           uint8
	headerLen      uint16 // IP and TCP header of a super-segment
	segmentSize    uint16 // payload of each segment
	checksumStart  uint16 // where the checksum begins to count
	checksumOffset uint16 // where it stands, counted from there
}

// put writes the wire form, which is in the byte order of the host.
func (h virtioHeader) put(b *[virtioLen]byte) {
	b[0], b[1] = h.flags, h.kind
	binary.NativeEndian.PutUint16(b[2:], h.headerLen)
	binary.NativeEndian.PutUint16(b[4:], h.segmentSize)
	binary.NativeEndian.PutUint16(b[6:], h.checksumStart)
	binary.NativeEndian.PutUint16(b[8:], h.checksumOffset)
}

// parseVirtio is the reverse of put. Any ten bytes are a header.
func parseVirtio(b *[virtioLen]byte) virtioHeader {
	return virtioHeader{
		flags: b[0], kind: b[1],
		headerLen:      binary.NativeEndian.Uint16(b[2:]),
		segmentSize:    binary.NativeEndian.Uint16(b[4:]),
		checksumStart:  binary.NativeEndian.Uint16(b[6:]),
		checksumOffset: binary.NativeEndian.Uint16(b[8:]),
	}
}

// trusted reports whether nobody has to verify the checksum: it has never left this host, or the kernel did.
func (h virtioHeader) trusted() bool { return h.flags&(virtioNeedsChecksum|virtioChecked) != 0 }
