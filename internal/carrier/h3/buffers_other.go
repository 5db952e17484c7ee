//go:build !linux

package h3

import "net"

// smallBuffers knows nothing of other systems' limits.
func smallBuffers(*net.UDPConn) string { return "" }
