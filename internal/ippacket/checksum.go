package ippacket

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// sum adds b to a ones' complement sum in progress (RFC 1071), eight bytes at a time: the carry of every
// addition comes back at the bottom. Only the last piece of a whole may have an odd length.
func sum(initial uint64, b []byte) uint64 {
	total, carry := initial, uint64(0)
	for ; len(b) >= 32; b = b[32:] { // the carry stays in its flag, which saves a third
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b), carry)
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b[8:]), carry)
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b[16:]), carry)
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b[24:]), carry)
	}
	for ; len(b) >= 8; b = b[8:] {
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b), carry)
	}
	var tail [8]byte
	copy(tail[:], b)
	total, carry = bits.Add64(total, binary.BigEndian.Uint64(tail[:]), carry)
	total, carry = bits.Add64(total, 0, carry)
	return total + carry
}

// finish folds a sum to what stands in a header.
func finish(total uint64) uint16 {
	total = total>>32 + total&0xffffffff
	total = total>>32 + total&0xffffffff
	total = total>>16 + total&0xffff
	total = total>>16 + total&0xffff
	return ^uint16(total)
}

// pseudo is the sum of the pseudo header (RFC 768; RFC 8200, section 8.1).
func pseudo(source, target netip.Addr, protocol uint8, size int) uint64 {
	total := uint64(protocol) + uint64(size)
	if source.Is4() {
		s, t := source.As4(), target.As4()
		return total + uint64(binary.BigEndian.Uint32(s[:])) + uint64(binary.BigEndian.Uint32(t[:]))
	}
	s, t := source.As16(), target.As16()
	return sum(sum(total, s[:]), t[:])
}
