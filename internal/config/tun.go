package config

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TUN is the full-tunnel mode.
type TUN struct {
	Enable bool // also when the file names a device and leaves out tun.enable
	Device string
	MTU    int
	NetNS  string // path of the network namespace that holds the device; "" = ours

	AutoRoute   AutoRoute
	Strict      bool           // refuse sockets that are bound to another device or address
	KillSwitch  bool           // what is captured stays blocked after a crash
	Forward     bool           // capture what this host forwards for others too
	Exclude     []netip.Prefix // destinations that go past the tunnel
	ExcludeUIDs []UIDRange     // users whose traffic does
	UDP443      UDP443
	DNS         TunnelDNS

	Debug              bool
	UDPMaxFlows        int
	UDPMaxDstPerPort   int
	UDPIdleTimeout     time.Duration
	UDPFlowIdleTimeout time.Duration
	UDPGCInterval      time.Duration
}

// AutoRoute says whether the program leads this host's traffic to the device.
type AutoRoute string

// The choices of AutoRoute.
const (
	AutoRouteNew AutoRoute = ""      // when it has made the device
	AutoRouteOn  AutoRoute = "true"  // always
	AutoRouteOff AutoRoute = "false" // never: the user's own routes do
)

// UIDRange is a range of user ids, both ends included.
type UIDRange struct{ First, Last uint32 }

// UDP443 says what becomes of QUIC.
type UDP443 string

// The choices for UDP to port 443.
const (
	UDP443Auto  UDP443 = "auto"
	UDP443Allow UDP443 = "allow"
	UDP443Block UDP443 = "block"
)

// TunnelDNS is what becomes of DNS queries in the tunnel.
type TunnelDNS struct {
	Capture bool             // answer them here, whoever they were sent to
	Servers []netip.AddrPort // asked through the tunnel
}

func defaultTUN() TUN {
	return TUN{
		Device: "tun0", MTU: 1500, UDP443: UDP443Auto,
		DNS: TunnelDNS{
			Capture: true,
			Servers: []netip.AddrPort{
				netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 1, 1, 1}), dnsPort),
				netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, 9, 9, 9}), dnsPort),
			},
		},
		UDPMaxFlows:        4096,
		UDPMaxDstPerPort:   512,
		UDPIdleTimeout:     time.Minute,
		UDPFlowIdleTimeout: 30 * time.Second,
		UDPGCInterval:      10 * time.Second,
	}
}

// SameDevice reports whether both need the same device in the same way. The other keys can change under it.
func (t TUN) SameDevice(u TUN) bool {
	return t.Enable == u.Enable && t.Device == u.Device && t.MTU == u.MTU && t.NetNS == u.NetNS &&
		t.AutoRoute == u.AutoRoute && t.DNS.Capture == u.DNS.Capture &&
		slices.Equal(t.DNS.Servers, u.DNS.Servers)
}

func tunKeys(t *TUN) section {
	return section{
		{"enable", boolean(&t.Enable)},
		{"device", scalar[string]{&t.Device, "the name of a network interface", parseDevice}},
		{"mtu", integer(&t.MTU, 576, math.MaxUint16)},
		{"netns", text(&t.NetNS)},
		{"auto_route", scalar[AutoRoute]{&t.AutoRoute, "true or false", parseAutoRoute}},
		{"strict", boolean(&t.Strict)},
		{"kill_switch", boolean(&t.KillSwitch)},
		{"forward", boolean(&t.Forward)},
		{"exclude", oneOrMany[netip.Prefix]{&t.Exclude, wantNetwork, parseNetwork}},
		{"exclude_uids", oneOrMany[UIDRange]{&t.ExcludeUIDs, wantUIDs, parseUIDs}},
		{"udp443", choice(&t.UDP443, UDP443Auto, UDP443Allow, UDP443Block)},
		{"dns", section{
			{"capture", boolean(&t.DNS.Capture)},
			{"servers", oneOrMany[netip.AddrPort]{&t.DNS.Servers, wantServer, parseServer}},
		}},
		{"debug", boolean(&t.Debug)},
		{"udp_max_flows", count(&t.UDPMaxFlows, 0)},
		{"udp_max_dst_per_port", count(&t.UDPMaxDstPerPort, 0)},
		{"udp_idle_timeout", duration(&t.UDPIdleTimeout)},
		{"udp_flow_idle_timeout", duration(&t.UDPFlowIdleTimeout)},
		{"udp_gc_interval", duration(&t.UDPGCInterval)},
	}
}

func parseAutoRoute(s string) (AutoRoute, error) {
	if s == "" {
		return AutoRouteNew, nil
	}
	var on bool
	on, err := parseBoolean(s)
	if err != nil {
		return "", err
	}
	return AutoRoute(strconv.FormatBool(on)), nil
}

const (
	wantNetwork = "a network like 192.0.2.0/24, or an IP address"
	wantUIDs    = "a user id, or a range like 1000-1999"
)

// parseNetwork reads a network, or an address as the network of itself.
func parseNetwork(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, errType
	case p.Bits() == 0:
		return p, wrong("must not be everything; tun.enable: false switches the tunnel off")
	}
	return p.Masked(), nil
}

// parseUIDs reads a user id or a range of them.
func parseUIDs(s string) (UIDRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	low, errLow := strconv.ParseUint(strings.TrimSpace(first), 10, 32)
	high, errHigh := strconv.ParseUint(strings.TrimSpace(last), 10, 32)
	switch {
	case errLow != nil || errHigh != nil:
		return UIDRange{}, errType
	case low > high:
		return UIDRange{}, wrong("the first user id must not be above the last")
	}
	return UIDRange{uint32(low), uint32(high)}, nil
}

// validateTUN finds what does not go together.
func (d *decoder) validateTUN(t *TUN) {
	if !t.Enable {
		return
	}
	at := func(key string) place { return d.child("tun."+key, d.places["tun.enable"].node) }
	if t.Device == "" {
		d.missing(at("device"), "is empty, and tun.enable is true")
	}
	if t.DNS.Capture && len(t.DNS.Servers) == 0 {
		d.missing(at("dns.servers"), "is empty; tun.dns.capture: false leaves DNS alone")
	}
	for _, guard := range []struct {
		key string
		on  bool
	}{{"strict", t.Strict}, {"kill_switch", t.KillSwitch}, {"forward", t.Forward}} {
		if guard.on && t.AutoRoute == AutoRouteOff {
			d.missing(at(guard.key), "needs the routes that tun.auto_route: false leaves to you")
		}
	}
}
