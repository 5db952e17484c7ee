package dialer

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
)

const (
	resolvConf = "/etc/resolv.conf"
	// resolvedConf has the servers that systemd-resolved asks, where resolv.conf names that service itself.
	resolvedConf = "/run/systemd/resolve/resolv.conf"
	// maxResolvConf bounds what is read of either.
	maxResolvConf = 64 << 10
	dnsPort       = 53
)

// OutsideServers are the DNS servers that this host's queries reach in the end, when the system's resolver is
// a local service whose own queries carry no mark. It is empty when the system's servers are others, or when
// nobody knows whom the local service asks.
func OutsideServers() []netip.AddrPort {
	local := func(s netip.AddrPort) bool { return s.Addr().IsLoopback() }
	if system := serversIn(resolvConf); !slices.ContainsFunc(system, local) {
		return nil
	}
	return slices.DeleteFunc(serversIn(resolvedConf), local)
}

// serversIn reads a file in the form of resolv.conf(5).
func serversIn(path string) []netip.AddrPort {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	return parseServers(io.LimitReader(f, maxResolvConf))
}

func parseServers(r io.Reader) (servers []netip.AddrPort) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if ip, err := netip.ParseAddr(words[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(ip.Unmap(), dnsPort))
		}
	}
	return servers
}
