//go:build !unix

package socks5

import "net"

// waiter is empty: there is no way here to wait for a datagram without a buffer.
type waiter struct{}

func newWaiter(*net.UDPConn) (waiter, error) { return waiter{}, nil }
