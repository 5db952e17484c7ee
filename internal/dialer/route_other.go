//go:build !linux

package dialer

import (
	"fmt"
	"net"
	"net/netip"
)

// anyPort stands for the port of a server where only the route matters.
const anyPort = 443

// routeTo asks for the route by a UDP socket that sends nothing. There are no marks here.
func routeTo(ip netip.Addr, _ uint32) (Route, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, anyPort)))
	if err != nil {
		return Route{}, fmt.Errorf("%w: %w", errNoRoute, err)
	}
	defer conn.Close()
	return Route{Source: conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()}, nil
}
