//go:build !linux

package h3

import "net"

// Other systems tell nothing of ICMP errors to unconnected sockets: a server that is gone is found by its
// silence.

func wantReports(*net.UDPConn) {}

func takeReports(*net.UDPConn, func(quote []byte)) bool { return false }
