//go:build !linux

package h2

import "net"

// limitUnsent does nothing where the system has no such limit, or sets a good one itself.
func limitUnsent(net.Conn) {}
