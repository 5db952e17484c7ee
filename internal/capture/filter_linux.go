package capture

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// What nftables calls an expression is one instruction of a small machine with registers. Each condition
// loads a part of the packet, or what is known of it, into a register and compares: the rule ends where a
// comparison fails.
const (
	register      = unix.NFT_REG_1
	nameSize      = 16 // of a device, in a register
	protocolICMP6 = 58
	portOffset    = 2 // of the destination port, in TCP and UDP alike
	discoverFirst = 133
	discoverLast  = 137
	directionBack = 1 // IP_CT_DIR_REPLY
)

// expr is an instruction.
func expr(name string, attrs ...[]byte) []byte {
	data := nested(unix.NFTA_EXPR_DATA, attrs...)
	return nested(unix.NFTA_LIST_ELEM, attrString(unix.NFTA_EXPR_NAME, name), data)
}

// attrBig is a number of the network's byte order, as all of nftables' own are.
func attrBig(kind uint16, v uint32) []byte { return attr(kind, binary.BigEndian.AppendUint32(nil, v)) }

// loadMeta loads what the kernel knows of a packet.
func loadMeta(key uint32) []byte {
	return expr("meta", attrBig(unix.NFTA_META_DREG, register), attrBig(unix.NFTA_META_KEY, key))
}

// loadPayload loads bytes of a header.
func loadPayload(base, offset, size uint32) []byte {
	return expr("payload", attrBig(unix.NFTA_PAYLOAD_DREG, register), attrBig(unix.NFTA_PAYLOAD_BASE, base),
		attrBig(unix.NFTA_PAYLOAD_OFFSET, offset), attrBig(unix.NFTA_PAYLOAD_LEN, size))
}

// compare goes on where the register and value stand so to each other, byte by byte.
func compare(op uint32, value ...byte) []byte {
	return expr("cmp", attrBig(unix.NFTA_CMP_SREG, register), attrBig(unix.NFTA_CMP_OP, op),
		nested(unix.NFTA_CMP_DATA, attr(unix.NFTA_DATA_VALUE, value)))
}

// equal is the most common comparison.
func equal(value ...byte) []byte { return compare(unix.NFT_CMP_EQ, value...) }

// keepBits clears the bits of the register that mask does not have.
func keepBits(mask []byte) []byte {
	return expr("bitwise",
		attrBig(unix.NFTA_BITWISE_SREG, register), attrBig(unix.NFTA_BITWISE_DREG, register),
		attrBig(unix.NFTA_BITWISE_LEN, uint32(len(mask))),
		nested(unix.NFTA_BITWISE_MASK, attr(unix.NFTA_DATA_VALUE, mask)),
		nested(unix.NFTA_BITWISE_XOR, attr(unix.NFTA_DATA_VALUE, make([]byte, len(mask)))))
}

func deviceName(name string) []byte { return append([]byte(name), make([]byte, nameSize-len(name))...) }

func (m markIs) exprs() [][]byte {
	return [][]byte{loadMeta(unix.NFT_META_MARK), equal(native32(uint32(m))...)}
}

func (d outOf) exprs() [][]byte {
	return [][]byte{loadMeta(unix.NFT_META_OIFNAME), equal(deviceName(string(d))...)}
}

func (d inFrom) exprs() [][]byte {
	return [][]byte{loadMeta(unix.NFT_META_IIFNAME), equal(deviceName(string(d))...)}
}

func (d notFrom) exprs() [][]byte {
	return [][]byte{loadMeta(unix.NFT_META_IIFNAME), compare(unix.NFT_CMP_NEQ, deviceName(string(d))...)}
}

// loadTarget loads the destination of packets of that family.
func loadTarget(f Family) [][]byte {
	version, offset, size := byte(unix.NFPROTO_IPV4), uint32(16), uint32(4)
	if f == IPv6 {
		version, offset, size = unix.NFPROTO_IPV6, 24, 16
	}
	return [][]byte{
		loadMeta(unix.NFT_META_NFPROTO), equal(version),
		loadPayload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, size),
	}
}

func (n toNetwork) exprs() [][]byte {
	p := netip.Prefix(n)
	addr := p.Addr().AsSlice()
	mask := make([]byte, len(addr))
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	list := loadTarget(familyOf(p.Addr()))
	if !p.IsSingleIP() {
		list = append(list, keepBits(mask))
	}
	return append(list, equal(addr...))
}

func (u byUsers) exprs() [][]byte {
	toNetworkOrder := expr("byteorder", attrBig(unix.NFTA_BYTEORDER_SREG, register),
		attrBig(unix.NFTA_BYTEORDER_DREG, register), attrBig(unix.NFTA_BYTEORDER_OP, unix.NFT_BYTEORDER_HTON),
		attrBig(unix.NFTA_BYTEORDER_LEN, 4), attrBig(unix.NFTA_BYTEORDER_SIZE, 4))
	return append([][]byte{loadMeta(unix.NFT_META_SKUID), toNetworkOrder},
		within(binary.BigEndian.AppendUint32(nil, u.First), binary.BigEndian.AppendUint32(nil, u.Last)))
}

// within goes on where the register is neither before first nor after last.
func within(first, last []byte) []byte {
	return expr("range",
		attrBig(unix.NFTA_RANGE_SREG, register), attrBig(unix.NFTA_RANGE_OP, unix.NFT_RANGE_EQ),
		nested(unix.NFTA_RANGE_FROM_DATA, attr(unix.NFTA_DATA_VALUE, first)),
		nested(unix.NFTA_RANGE_TO_DATA, attr(unix.NFTA_DATA_VALUE, last)))
}

func (p dnsOver) exprs() [][]byte {
	return [][]byte{
		loadMeta(unix.NFT_META_L4PROTO), equal(byte(p)),
		loadPayload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, portOffset, 2), equal(0, dnsPort),
	}
}

func (isReply) exprs() [][]byte {
	return [][]byte{
		expr("ct", attrBig(unix.NFTA_CT_DREG, register), attrBig(unix.NFTA_CT_KEY, unix.NFT_CT_DIRECTION)),
		equal(directionBack),
	}
}

func (isDiscovery) exprs() [][]byte {
	return [][]byte{
		loadMeta(unix.NFT_META_L4PROTO), equal(protocolICMP6),
		loadPayload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1),
		within([]byte{discoverFirst}, []byte{discoverLast}),
	}
}
