package health

import (
	"net"
	"syscall"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// IsLocal reports whether a failure is this host's own lack, and says nothing of a path: no more descriptors,
// memory or ports, no permission, or transport.ErrNoNetwork.
func IsLocal(err error) bool { return blameOf(err) == nobody }

// IsNoNetwork reports whether a failure happened before anything left this host, or because no name server
// answered. It puts a path down like any other, since that path may be the only one without a route (IPv6),
// but it is no reason to try harder, and none for a grudge.
func IsNoNetwork(err error) bool { return blameOf(err) == network }

// blame is who a failure speaks against. Where several addresses or carriers failed, each in its own way, the
// highest counts: an address family without a route does not excuse a server that refuses.
type blame uint8

const (
	network blame = iota // this host has no way out
	nobody               // this host lacks something
	thePath
)

// blameOf looks at every cause in the tree of err.
func blameOf(err error) blame {
	if err == transport.ErrNoNetwork { //nolint:errorlint // it walks the tree itself
		return nobody
	}
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case syscall.Errno:
		return blameOfErrno(e)
	case *net.DNSError:
		if e.IsNotFound {
			return thePath
		}
		return network
	case interface{ Unwrap() error }:
		return blameOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		causes := e.Unwrap()
		if len(causes) == 0 {
			return thePath
		}
		worst := network
		for _, cause := range causes {
			worst = max(worst, blameOf(cause))
		}
		return worst
	}
	return thePath
}

func blameOfErrno(errno syscall.Errno) blame {
	switch errno { //nolint:exhaustive // there are hundreds
	case syscall.ENETUNREACH, syscall.ENETDOWN:
		return network
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL,
		syscall.EPERM:
		return nobody
	}
	return thePath
}
