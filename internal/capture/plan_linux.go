package capture

import (
	"fmt"
	"net/netip"
	"slices"
)

const (
	// table is the routing table that leads into the tunnel.
	table = 20311
	// protocol is the tag of all that is ours, see rtnetlink(7) on RTA_PROTOCOL. The kernel and the routing
	// daemons know other numbers.
	protocol = 79
	// lastMetric is that of a route which counts when the others are gone.
	lastMetric = 1<<32 - 1
)

// The priorities of our rules: after those of Tailscale (5210 to 5270), before those of wg-quick and the main
// table. What the kernel takes for the same rule may not share one: it looks neither at "not" nor at a source
// that is missing.
const (
	prioMark      = 9000 + iota // our own sockets leave
	prioUID                     // so do excluded users
	prioForwarded               // and packets from other hosts, or out of the tunnel
	prioOurs                    // sockets without a source address, or the tunnel's, go on at prioLanding
	prioOthers                  // all other sockets leave
	prioLanding                 // nothing; the rules above jump here
	prioDNS                     // into the tunnel, wherever the server is
	prioPrivate                 // networks next to this host
	prioTunnel                  // the rest goes into the tunnel
	prioEnd       = 9099        // nothing; who leaves jumps here, on to the user's rules and the main table
)

const (
	mainTable   = 254
	protocolTCP = 6
	protocolUDP = 17
	dnsPort     = 53
)

// Step is one thing that is told to the kernel. Its text is what ip(8) or nft(8) would be told.
type Step interface {
	fmt.Stringer
	// add reports whether the kernel changed: what was there before is not ours to take back.
	add(k *kernel) (changed bool, err error)
	// remove is content when the thing is gone already.
	remove(k *kernel) error
}

// Plan is everything that is told to the kernel, in order; taken back in reverse. An address of the options
// that is missing is one family left out. It is a pure function.
//
// The guard comes first and the rules last, from the end of the way to its beginning: until the last rule
// nothing is captured that is not also let out again.
func Plan(o Options) []Step {
	o = o.settled()
	var steps []Step
	if g := newGuard(o); len(g.Chains) > 0 {
		steps = append(steps, g)
	}
	steps = append(steps, Link{Device: o.Device})
	addrs := []netip.Prefix{o.Addr4, o.Addr6}
	addrs = slices.DeleteFunc(addrs, func(p netip.Prefix) bool { return !p.IsValid() })
	if o.Addr6.IsValid() {
		steps = append(steps, Enabled{Device: o.Device})
	}
	for _, a := range addrs {
		steps = append(steps, Address{Device: o.Device, Prefix: a})
	}
	for _, a := range addrs {
		steps = append(steps, routes(o, a.Addr())...)
	}
	for _, a := range addrs {
		steps = append(steps, rules(o, a.Addr())...)
	}
	return steps
}

// direct are the networks that no tunnel could reach: this link, and many receivers at once.
func direct(f Family) []netip.Prefix {
	if f == IPv6 {
		return []netip.Prefix{netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8")}
	}
	return []netip.Prefix{
		netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("224.0.0.0/4"),
		netip.MustParsePrefix("255.255.255.255/32"),
	}
}

// private are the networks that may be next to this host, for which the main table is trusted. For all others
// it is not: whoever answers its DHCP could take the traffic out of the tunnel with a route, CVE-2024-3661.
func private(f Family) []netip.Prefix {
	if f == IPv6 {
		return []netip.Prefix{netip.MustParsePrefix("fc00::/7")}
	}
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
	}
}

// routes are those of one family, of which addr is the tunnel's address. A throw sends the lookup on to the
// next rule, and the longest prefix wins, so that any number of exceptions costs one lookup. The way into the
// tunnel is the last to come.
func routes(o Options, addr netip.Addr) []Step {
	f := familyOf(addr)
	exceptions := direct(f)
	for _, p := range o.Exclude {
		if familyOf(p.Addr()) == f && !slices.Contains(exceptions, p) {
			exceptions = append(exceptions, p)
		}
	}
	steps := make([]Step, 0, len(exceptions)+2)
	for _, p := range exceptions {
		steps = append(steps, Route{Kind: Throw, Dst: p})
	}
	if o.KillSwitch {
		steps = append(steps, Route{Kind: Unreachable, Dst: everything(f), Metric: lastMetric})
	}
	return append(steps, Route{Kind: Through, Dst: everything(f), Device: o.Device, Source: addr})
}

// rules are those of one family, of which addr is the tunnel's address.
//
// In a lookup without a source address, IPv4 has 0.0.0.0 there, while IPv6 has nothing that a prefix would
// match: hence two forms of the same.
func rules(o Options, addr netip.Addr) []Step {
	f := familyOf(addr)
	all := []Rule{
		{Priority: prioEnd},
		{Priority: prioMark, Mark: o.Mark, Goto: prioEnd},
	}
	for _, r := range o.ExcludeUIDs {
		all = append(all, Rule{Priority: prioUID, UIDs: r, HasUIDs: true, Goto: prioEnd})
	}
	ours := Rule{Priority: prioOurs, IIF: loopback, Goto: prioLanding}
	all = append(all, Rule{Priority: prioLanding}, ours.from(netip.PrefixFrom(addr, addr.BitLen())))
	others := Rule{Priority: prioOthers, IIF: loopback, Goto: prioEnd}
	if f == IPv4 {
		all = append(all, ours.from(netip.PrefixFrom(netip.IPv4Unspecified(), 32)), others)
	} else {
		lower, upper := netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")
		all = append(all, others.from(lower), others.from(upper))
	}
	all = append(all, forwarded(o))
	for _, p := range private(f) {
		all = append(all, Rule{Priority: prioPrivate, To: p, Table: mainTable, NoDefault: true})
	}
	if o.DNS {
		all = append(all,
			Rule{Priority: prioDNS, Protocol: protocolUDP, Port: dnsPort, Table: table},
			Rule{Priority: prioDNS, Protocol: protocolTCP, Port: dnsPort, Table: table})
	}
	all = append(all, Rule{Priority: prioTunnel, Table: table})

	steps := make([]Step, 0, len(all))
	for _, r := range all {
		r.Family = f
		steps = append(steps, r)
	}
	return steps
}

// forwarded says which packets that came from elsewhere leave the rules: all of them, or those that came out
// of the tunnel.
func forwarded(o Options) Rule {
	if o.Forward {
		return Rule{Priority: prioForwarded, IIF: o.Device, Goto: prioEnd}
	}
	return Rule{Priority: prioForwarded, IIF: loopback, NotIIF: true, Goto: prioEnd}
}
