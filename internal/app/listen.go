package app

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// listenAll opens every address or none.
func listenAll(ctx context.Context, addrs []string) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
		}
	}()
	for _, addr := range addrs {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, listenNetwork(addr, addrs), addr)
		if err != nil {
			return listeners, fmt.Errorf("listen.socks5: %w", err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
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
