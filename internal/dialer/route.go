package dialer

import (
	"context"
	"net"
	"net/netip"
	"slices"
)

// anyPort stands for the port of a server where only the route matters.
const anyPort = 443

// Sources returns the addresses of this host from which packets to a host leave, in the order of the host's
// addresses, without those that no route leads to. It sends nothing. A name that was never looked up has
// no known addresses; known is false then, and when routes may not be asked for.
func (d *Dialer) Sources(ctx context.Context, host string) (sources []netip.Addr, known bool) {
	t := parseHost(host)
	addrs := []netip.Addr{t.ip}
	if !t.ip.IsValid() {
		addrs = d.resolver.remembered(t.host)
	}
	for _, ip := range addrs {
		source, err := d.source(ctx, ip)
		if _, ok := markError(err); ok {
			return nil, false
		}
		if err == nil && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	return sources, len(addrs) > 0
}

// source asks the kernel for the route, by a UDP socket that sends nothing.
func (d *Dialer) source(ctx context.Context, ip netip.Addr) (netip.Addr, error) {
	nd := net.Dialer{Control: d.control()}
	conn, err := nd.DialUDP(ctx, "udp", netip.AddrPort{}, netip.AddrPortFrom(ip, anyPort))
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}
