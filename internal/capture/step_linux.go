package capture

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// loopback is the device that the kernel names as the origin of what this host itself sends.
const loopback = "lo"

// Family is a version of IP.
type Family uint8

// The two of them.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// everything is the prefix of all addresses.
func everything(f Family) netip.Prefix {
	if f == IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// Link is a device that is up.
type Link struct{ Device string }

// String implements Step.
func (l Link) String() string { return "link set " + l.Device + " up" }

// Address is one of the device's. It makes no route of its own.
type Address struct {
	Device string
	Prefix netip.Prefix
}

// String implements Step.
func (a Address) String() string {
	return fmt.Sprintf("addr add %v dev %s nodad noprefixroute", a.Prefix, a.Device)
}

// RouteKind is what a route does.
type RouteKind uint8

// What ours do: lead to the device; send the lookup on to the next rule; refuse.
const (
	Through RouteKind = iota
	Throw
	Unreachable
)

// Route is one of our table.
type Route struct {
	Kind   RouteKind
	Dst    netip.Prefix
	Device string     // of Through
	Source netip.Addr // of Through: the address that sockets without one get, since the rules know it
	Metric uint32
}

// String implements Step.
func (r Route) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-%d route add ", familyOf(r.Dst.Addr()))
	switch r.Kind {
	case Throw:
		b.WriteString("throw ")
	case Unreachable:
		b.WriteString("unreachable ")
	case Through:
	}
	fmt.Fprintf(&b, "%v", r.Dst)
	if r.Device != "" {
		fmt.Fprintf(&b, " dev %s src %v", r.Device, r.Source)
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	fmt.Fprintf(&b, " table %d", table)
	return b.String()
}

// Rule is one of policy routing: what matches all its conditions, which are those that are not zero, is
// looked up in Table or goes on at Goto. With neither it is a place to jump to.
type Rule struct {
	Family   Family
	Priority uint32

	Mark     uint32
	UIDs     UIDRange
	HasUIDs  bool // user 0 is one
	IIF      string
	NotIIF   bool // the rule holds for every other device than IIF
	From, To netip.Prefix
	Protocol uint8
	Port     uint16 // of the destination

	Table     uint32
	NoDefault bool // a default route in Table does not count
	Goto      uint32
}

// from is the rule for one source.
func (r Rule) from(p netip.Prefix) Rule {
	r.From = p
	return r
}

// String implements Step.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-%d rule add pref %d", r.Family, r.Priority)
	if r.NotIIF {
		b.WriteString(" not")
	}
	if r.From.IsValid() {
		fmt.Fprintf(&b, " from %v", r.From)
	}
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %v", r.To)
	}
	if r.Mark != 0 {
		fmt.Fprintf(&b, " fwmark %#x", r.Mark)
	}
	if r.IIF != "" {
		fmt.Fprintf(&b, " iif %s", r.IIF)
	}
	if r.HasUIDs {
		fmt.Fprintf(&b, " uidrange %d-%d", r.UIDs.First, r.UIDs.Last)
	}
	if r.Protocol != 0 {
		fmt.Fprintf(&b, " ipproto %s dport %d", protocolName(r.Protocol), r.Port)
	}
	b.WriteString(r.action())
	return b.String()
}

// action is the second half of the rule's text.
func (r Rule) action() string {
	switch {
	case r.Goto != 0:
		return fmt.Sprintf(" goto %d", r.Goto)
	case r.Table == 0:
		return " nop"
	case r.NoDefault:
		return " lookup " + tableName(r.Table) + " suppress_prefixlength 0"
	}
	return " lookup " + tableName(r.Table)
}

func protocolName(p uint8) string {
	if p == protocolTCP {
		return "tcp"
	}
	return "udp"
}

func tableName(t uint32) string {
	if t == mainTable {
		return "main"
	}
	return strconv.FormatUint(uint64(t), 10)
}
