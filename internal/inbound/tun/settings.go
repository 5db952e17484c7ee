package tun

import (
	"context"
	"errors"
	"fmt"

	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// ErrUnsupported says that this build or system has no full tunnel.
var ErrUnsupported = fmt.Errorf("the full tunnel exists on Linux only: %w", errors.ErrUnsupported)

// UDP443 says what becomes of UDP to port 443, which is QUIC as browsers speak it.
type UDP443 uint8

// The choices for UDP to port 443. What is refused is refused with ICMP, which browsers do not wait out.
const (
	// UDP443Auto refuses new QUIC connections while Settings.QUIC says that they would do badly: browsers
	// then use TCP, which is as fast as the upstream. Connections that exist go on.
	UDP443Auto  UDP443 = iota
	UDP443Allow        // treated like any other port
	UDP443Block        // refused
)

// Resolver answers DNS queries that applications sent to any server.
type Resolver interface {
	// Query returns the answer to one DNS message. ctx bounds it.
	Query(ctx context.Context, query []byte) (answer []byte, err error)
}

// Settings are what may change while a server serves. A flow keeps those that it began with.
type Settings struct {
	Stream transport.StreamDialer   // required
	Packet transport.PacketListener // nil refuses UDP
	Limits relay.Limits             // of streams

	// Usable reports at once whether an upstream can be used for "tcp" or "udp" now; while none can, flows
	// are refused without a dial. nil is always.
	Usable func(proto string) bool

	UDP443 UDP443
	// QUIC reports at once whether QUIC does well over the upstreams now, for UDP443Auto. Inside streams over
	// TCP, where two layers repeat what is lost, it does not. nil is always.
	QUIC func() bool

	DNS Resolver // answers what goes to port 53 by UDP and by TCP; nil treats it like any other port

	MaxFlows       int // streams at once; zero is 16384
	Windows        int // bytes that the stack may hold for all streams; zero is 128 MiB
	MaxUDP         int // associations at once; zero is 16384
	MaxUDPByClient int // associations of one address at once; zero is 4096
}

// Protocols of a flow.
const (
	protoTCP = "tcp"
	protoUDP = "udp"
)

const defaultMaxFlows = 16384

func (s *Settings) maxFlows() int {
	if s.MaxFlows > 0 {
		return s.MaxFlows
	}
	return defaultMaxFlows
}

func (s *Settings) windows() int {
	if s.Windows > 0 {
		return s.Windows
	}
	return windowBudget
}

// usable reports whether flows of proto have somewhere to go.
func (s *Settings) usable(proto string) bool { return s.Usable == nil || s.Usable(proto) }
