package app

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// listenAll opens every address that is not open, or none.
func listenAll(
	ctx context.Context, addrs []string, open map[string]*door,
) (fresh map[string]net.Listener, err error) {
	fresh = make(map[string]net.Listener)
	for _, addr := range addrs {
		if open[addr] != nil {
			continue
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, listenNetwork(addr, addrs), addr)
		if err != nil {
			for _, l := range fresh {
				_ = l.Close()
			}
			return nil, fmt.Errorf("listen.socks5: %w", err)
		}
		fresh[addr] = l
	}
	return fresh, nil
}

// door is a listener that is served.
type door struct {
	close context.CancelFunc
	done  chan struct{} // closed when nothing is accepted any more
}

// listenNetwork keeps an IPv4 address to IPv4, which package net would open for IPv6 too where it is 0.0.0.0.
// An IPv6 wildcard takes both, unless IPv4 has a listener of its own on that port.
func listenNetwork(addr string, all []string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "tcp" // Listen says what is wrong
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil: // a name, or nothing for every address
		return "tcp"
	case ip.Is4():
		return "tcp4"
	case ip.IsUnspecified() && slices.Contains(all, net.JoinHostPort("0.0.0.0", port)):
		return "tcp6"
	}
	return "tcp"
}
