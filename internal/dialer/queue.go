package dialer

import (
	"net/netip"
	"slices"
)

// family is an address family.
type family uint8

const (
	ipv6 family = iota
	ipv4
)

// network is the family's name for net.Resolver.
func (f family) network() string {
	if f == ipv4 {
		return "ip4"
	}
	return "ip6"
}

func (f family) other() family { return ipv4 - f }

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// queue holds the addresses that are still to be tried and says which is next: the families take turns (RFC
// 8305, section 4). Inside a family the order is the resolver's.
type queue struct {
	good  netip.Addr // worked last time, goes first; or invalid
	turn  family     // of the next address, if it has one
	addrs [2][]netip.Addr
}

func newQueue(good netip.Addr) queue {
	q := queue{good: good}
	if good.IsValid() {
		q.turn = familyOf(good)
	}
	return q
}

// add appends addresses of one family, each once.
func (q *queue) add(f family, addrs []netip.Addr) {
	for _, a := range addrs {
		switch {
		case slices.Contains(q.addrs[f], a):
		case a == q.good:
			q.addrs[f] = slices.Insert(q.addrs[f], 0, a)
		default:
			q.addrs[f] = append(q.addrs[f], a)
		}
	}
}

// next takes the next address out.
func (q *queue) next() (netip.Addr, bool) {
	f := q.turn
	if len(q.addrs[f]) == 0 {
		f = f.other()
	}
	if len(q.addrs[f]) == 0 {
		return netip.Addr{}, false
	}
	a := q.addrs[f][0]
	q.addrs[f] = q.addrs[f][1:]
	q.turn = f.other()
	return a, true
}

// all takes the rest out.
func (q *queue) all() []netip.Addr {
	var addrs []netip.Addr
	for a, ok := q.next(); ok; a, ok = q.next() {
		addrs = append(addrs, a)
	}
	return addrs
}
