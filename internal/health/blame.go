package health

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// IsLocal reports whether a failure is this host's own, and says nothing of a path: no more descriptors,
// memory or ports, no permission, or somebody gave up waiting.
func IsLocal(err error) bool {
	for _, errno := range [...]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL, syscall.EPERM,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return errors.Is(err, context.Canceled)
}

// IsNoNetwork reports whether a failure happened before anything left this host, or before its name servers
// answered. It puts a path down like any other, since the path may be the only one without a route (IPv6),
// but it is no reason to try harder, and none for a grudge.
func IsNoNetwork(err error) bool {
	if errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN) {
		return true
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && !dns.IsNotFound
}
