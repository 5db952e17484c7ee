package socks5

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Reply codes (RFC 1928, section 6).
const (
	replySucceeded          = 0
	replyGeneralFailure     = 1
	replyNotAllowed         = 2
	replyNetworkUnreachable = 3
	replyHostUnreachable    = 4
	replyConnectionRefused  = 5
	replyTimeout            = 6 // "TTL expired" in the RFC; what servers say for a timeout
	replyBadCommand         = 7
	replyBadAddressType     = 8
)

// makeReply returns the reply with the address it names. For the zero Addr that is 0.0.0.0:0, which clients
// take for "not your concern".
func makeReply(code byte, bound socksaddr.Addr) []byte {
	return bound.Append([]byte{version, code, 0})
}

// replyCode returns the reply for an error of a dial. When several attempts failed for different causes, a
// rule comes first, then the cause that tells most about the target.
func replyCode(err error) byte {
	switch {
	case errors.Is(err, transport.ErrNotAllowed):
		return replyNotAllowed
	case errors.Is(err, syscall.ECONNREFUSED):
		return replyConnectionRefused
	case errors.Is(err, syscall.EHOSTUNREACH), unknownHost(err):
		return replyHostUnreachable
	case errors.Is(err, syscall.ENETUNREACH):
		return replyNetworkUnreachable
	case timedOut(err):
		return replyTimeout
	}
	return replyGeneralFailure
}

// unknownHost tells a name that does not resolve from a resolver that did not answer.
func unknownHost(err error) bool {
	lookup, ok := errors.AsType[*net.DNSError](err)
	return ok && !lookup.IsTimeout
}

func timedOut(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) {
		return true
	}
	network, ok := errors.AsType[net.Error](err)
	return ok && network.Timeout()
}
