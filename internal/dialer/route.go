package dialer

import (
	"errors"
	"net"
	"net/netip"
	"slices"
)

// Route is how packets to an address leave this host. Where the system does not tell, fields are zero.
type Route struct {
	Source  netip.Addr
	Gateway netip.Addr // zero: the address is on the link
	Link    int        // index of the interface
}

// errNoRoute says that no route leads to an address.
var errNoRoute = errors.New("no route")

// Routes returns the ways to a host, in the order of its addresses. Addresses to which no route leads, or one
// over a link that is down, have none. It sends nothing. A name that was never looked up has no known
// addresses; known is false then, and where the system does not tell.
func (d *Dialer) Routes(host string) (routes []Route, known bool) {
	t := parseHost(host)
	addrs := []netip.Addr{t.ip}
	if !t.ip.IsValid() {
		addrs = d.resolver.remembered(t.host)
	}
	for _, ip := range addrs {
		r, err := routeTo(ip, d.mark)
		if err != nil && !errors.Is(err, errNoRoute) {
			return nil, false
		}
		if err == nil && running(r.Link) && !slices.Contains(routes, r) {
			routes = append(routes, r)
		}
	}
	return routes, len(addrs) > 0
}

// running reports whether a link carries packets, as far as that is known. One that was switched on has a
// carrier before the kernel sends anything over it.
func running(link int) bool {
	if link == 0 {
		return true
	}
	i, err := net.InterfaceByIndex(link)
	return err != nil || i.Flags&net.FlagRunning != 0
}
