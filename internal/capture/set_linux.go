package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// setMessage is how many elements one message has: their attribute holds 64 KiB.
	setMessage = 500
	// The types of a set's keys, as nft(8) numbers them.
	typeAddr4 = 7
	typeAddr6 = 8
)

// Set is one of networks in the guard, which takes one look however many there are.
type Set struct {
	Family   Family
	Networks []netip.Prefix // in order, none in another
}

// newSets are those of the networks, which are in order.
func newSets(networks []netip.Prefix) []Set {
	var sets []Set
	for _, f := range []Family{IPv4, IPv6} {
		s := Set{Family: f}
		for _, p := range networks {
			if familyOf(p.Addr()) != f {
				continue
			}
			if n := len(s.Networks); n > 0 && s.Networks[n-1].Overlaps(p) {
				continue // the wider one comes first
			}
			s.Networks = append(s.Networks, p)
		}
		if len(s.Networks) > 0 {
			sets = append(sets, s)
		}
	}
	return sets
}

// name is the set's.
func (s Set) name() string { return fmt.Sprintf("excluded%d", s.Family) }

// String is the set as nft(8) has it.
func (s Set) String() string {
	list := make([]string, 0, len(s.Networks))
	for _, p := range s.Networks {
		list = append(list, networkText(p))
	}
	kind := map[Family]string{IPv4: "ipv4_addr", IPv6: "ipv6_addr"}[s.Family]
	return fmt.Sprintf("\tset %s {\n\t\ttype %s\n\t\tflags constant,interval\n\t\telements = { %s }\n\t}\n",
		s.name(), kind, strings.Join(list, ", "))
}

// create are the messages that make the set, which is the only one with its number in this batch.
func (s Set) create() []message {
	kind, size := uint32(typeAddr4), uint32(4)
	if s.Family == IPv6 {
		kind, size = typeAddr6, 16
	}
	id := uint32(s.Family)
	msgs := []message{nfMessage(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE,
		attrString(unix.NFTA_SET_TABLE, guardTable), attrString(unix.NFTA_SET_NAME, s.name()),
		attrBig(unix.NFTA_SET_FLAGS, unix.NFT_SET_CONSTANT|unix.NFT_SET_INTERVAL),
		attrBig(unix.NFTA_SET_KEY_TYPE, kind), attrBig(unix.NFTA_SET_KEY_LEN, size),
		attrBig(unix.NFTA_SET_ID, id))}
	for part := range slices.Chunk(s.elements(), setMessage) {
		msgs = append(msgs, nfMessage(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE,
			attrString(unix.NFTA_SET_ELEM_LIST_TABLE, guardTable),
			attrString(unix.NFTA_SET_ELEM_LIST_SET, s.name()), attrBig(unix.NFTA_SET_ELEM_LIST_SET_ID, id),
			nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, part...)))
	}
	return msgs
}

// elements are the places where networks begin and where they end, the first of which is before all of them.
// The end of the last address is nowhere.
func (s Set) elements() [][]byte {
	list := [][]byte{element(everything(s.Family).Addr(), unix.NFT_SET_ELEM_INTERVAL_END)}
	for _, p := range s.Networks {
		list = append(list, element(p.Addr(), 0))
		if end := last(p).Next(); end.IsValid() {
			list = append(list, element(end, unix.NFT_SET_ELEM_INTERVAL_END))
		}
	}
	return list
}

func element(a netip.Addr, flags uint32) []byte {
	return nested(unix.NFTA_LIST_ELEM, attrBig(unix.NFTA_SET_ELEM_FLAGS, flags),
		nested(unix.NFTA_SET_ELEM_KEY, attr(unix.NFTA_DATA_VALUE, a.AsSlice())))
}

// last is the highest address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// inSet matches what goes to a network of the set for that family.
type inSet Family

func (n inSet) String() string {
	field := map[Family]string{IPv4: "ip", IPv6: "ip6"}[Family(n)]
	return fmt.Sprintf("%s daddr @%s", field, Set{Family: Family(n)}.name())
}

func (n inSet) exprs() [][]byte {
	name := attrString(unix.NFTA_LOOKUP_SET, Set{Family: Family(n)}.name())
	return append(loadTarget(Family(n)), expr("lookup", name, attrBig(unix.NFTA_LOOKUP_SREG, register),
		attrBig(unix.NFTA_LOOKUP_SET_ID, uint32(n))))
}
