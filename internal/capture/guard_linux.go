package capture

import (
	"fmt"
	"net/netip"
	"strings"
)

// guardTable is its name; its family is inet.
const guardTable = "outline_ws"

// Guard is the table of nftables that stops what finds a way past the rules: a resolver that is bound to a
// device, and with Options.Strict every socket that is. It may not be there at all in the plan, when it has
// nothing to stop.
type Guard struct {
	// Stays is for a kill switch. Any other guard belongs to the process, with which it goes.
	Stays  bool
	Sets   []Set
	Chains []Chain
	needed bool // without it the options do not hold what they promise
}

// Chain is one of its chains. Without a hook it is jumped to.
type Chain struct {
	Name     string
	Hook     string
	Priority int32
	Rules    []Filter
}

// Filter is a rule of nftables: a verdict on what matches all of the conditions.
type Filter struct {
	match   []part
	verdict part
}

// part is a condition or a verdict: its text for nft(8), and its instructions; see filter_linux.go.
type part interface {
	fmt.Stringer
	exprs() [][]byte
}

// ruling is a verdict that ends a packet's way through a chain.
type ruling uint8

const (
	reject ruling = iota
	accept
	toDNS // the chain of that name decides
)

const (
	priorityMangle = -150
	priorityFilter = 0
)

// newGuard is the table for options that are settled.
func newGuard(o Options) Guard {
	g := Guard{Stays: o.KillSwitch, needed: o.Strict}
	if o.DNS {
		g.Chains = append(g.Chains, Chain{Name: "dns", Rules: append(excluded(o), Filter{nil, reject})})
	}
	if o.DNS || o.Strict {
		own := []Filter{
			{[]part{markIs(o.Mark)}, accept},
			{[]part{outOf(o.Device)}, accept},
			{[]part{outOf(loopback)}, accept},
		}
		g.Chains = append(g.Chains, Chain{"output", "output", priorityFilter, append(own, stopped(o)...)})
	}
	if o.Forward && (o.DNS || o.Strict) {
		tun := []Filter{{[]part{outOf(o.Device)}, accept}, {[]part{inFrom(o.Device)}, accept}}
		g.Chains = append(g.Chains, Chain{"forward", "forward", priorityFilter, append(tun, stopped(o)...)})
	}
	if o.DNS || o.Strict {
		g.Sets = newSets(o.Exclude)
	}
	if o.Forward {
		g.Chains = append(g.Chains, replies(o))
	}
	return g
}

// replies gives the mark to answers of those behind this host, so that a container's published port answers
// to where it was asked from.
func replies(o Options) Chain {
	match := []part{notFrom(o.Device), isReply{}, markIs(0)}
	return Chain{"replies", "prerouting", priorityMangle, []Filter{{match, setMark(o.Mark)}}}
}

// stopped ends a chain: DNS, and all else where the options are strict, but for what is close, asked for from
// outside, or excluded.
func stopped(o Options) []Filter {
	var rules []Filter
	if o.DNS {
		rules = append(rules, Filter{[]part{dnsOver(protocolUDP)}, toDNS},
			Filter{[]part{dnsOver(protocolTCP)}, toDNS})
	}
	if !o.Strict {
		return rules
	}
	rules = append(rules, Filter{[]part{isReply{}}, accept}, Filter{[]part{isDiscovery{}}, accept})
	for _, f := range []Family{IPv4, IPv6} {
		for _, p := range append(private(f), direct(f)...) {
			rules = append(rules, Filter{[]part{toNetwork(p)}, accept})
		}
	}
	rules = append(rules, excluded(o)...)
	return append(rules, Filter{nil, reject})
}

// excluded lets out what the options exclude.
func excluded(o Options) []Filter {
	var rules []Filter
	for _, s := range newSets(o.Exclude) {
		rules = append(rules, Filter{[]part{inSet(s.Family)}, accept})
	}
	for _, r := range o.ExcludeUIDs {
		rules = append(rules, Filter{[]part{byUsers(r)}, accept})
	}
	return rules
}

// String implements Step.
func (g Guard) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", guardTable)
	if !g.Stays {
		b.WriteString("\tflags owner\n")
	}
	for _, s := range g.Sets {
		b.WriteString(s.String())
	}
	for _, c := range g.Chains {
		fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
		if c.Hook != "" {
			fmt.Fprintf(&b, "\t\ttype filter hook %s priority %d; policy accept;\n", c.Hook, c.Priority)
		}
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t\t%s\n", r)
		}
		b.WriteString("\t}\n")
	}
	return b.String() + "}"
}

// String is the rule as nft(8) has it.
func (f Filter) String() string {
	var b strings.Builder
	for _, m := range f.match {
		b.WriteString(m.String() + " ")
	}
	return b.String() + f.verdict.String()
}

// The conditions.
type (
	markIs    uint32
	outOf     string
	inFrom    string
	notFrom   string
	toNetwork netip.Prefix
	byUsers   UIDRange
	dnsOver   uint8 // a protocol, to port 53
	isReply   struct{}
	// isDiscovery is that of IPv6 neighbours, which a strict guard must not stop: even marked packets wait
	// for it.
	isDiscovery struct{}
)

// String is the text of the verdict.
func (r ruling) String() string {
	switch r {
	case accept:
		return "accept"
	case toDNS:
		return "goto dns"
	case reject:
	}
	return "reject with icmpx admin-prohibited"
}

// setMark is a verdict that gives a packet a mark.
type setMark uint32

func (m setMark) String() string { return fmt.Sprintf("meta mark set 0x%08x", uint32(m)) }

func (m markIs) String() string  { return fmt.Sprintf("meta mark 0x%08x", uint32(m)) }
func (d outOf) String() string   { return fmt.Sprintf("oifname %q", string(d)) }
func (d inFrom) String() string  { return fmt.Sprintf("iifname %q", string(d)) }
func (d notFrom) String() string { return fmt.Sprintf("iifname != %q", string(d)) }

func (n toNetwork) String() string {
	if p := netip.Prefix(n); p.Addr().Is6() {
		return "ip6 daddr " + networkText(p)
	}
	return "ip daddr " + networkText(netip.Prefix(n))
}

// networkText is a network as nft(8) has it.
func networkText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (u byUsers) String() string   { return fmt.Sprintf("meta skuid %d-%d", u.First, u.Last) }
func (p dnsOver) String() string   { return protocolName(uint8(p)) + " dport 53" }
func (isReply) String() string     { return "ct direction reply" }
func (isDiscovery) String() string { return "icmpv6 type 133-137" }
