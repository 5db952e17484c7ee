//go:build !unit

package tun

import (
	"errors"
	"fmt"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	nicID = 1

	minBuffer     = 4 << 10
	defaultBuffer = 256 << 10

	// The stack's peer is this very host, which neither loses nor delays packets: what the RFCs wait for
	// takes no minutes here, and a client that said nothing to a few SYN-ACKs is gone.
	timeWait   = time.Second
	synRetries = 3
	// keepAlive finds clients that are gone without a word within about two minutes.
	keepAlive         = time.Minute
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 4
)

// newStack returns a stack that takes TCP for any address from link.
func newStack(link stack.LinkEndpoint) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocol,
			ipv6.NewProtocolWithOptions(ipv6.Options{}), // it solicits nobody
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	if err := errors.Join(setOptions(s), attach(s, link)); err != nil {
		s.Destroy()
		return nil, fmt.Errorf("tcp/ip stack: %w", err)
	}
	return s, nil
}

// setOptions also sets what is the stack's default today, but for loss detection by time (RACK), which is
// off: with round trips of microseconds and segments of 64 KiB it takes a busy host's delays for losses, and
// a device loses nothing.
func setOptions(s *stack.Stack) error {
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: minBuffer, Default: defaultBuffer, Max: maxWindow}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minBuffer, Default: defaultBuffer, Max: maxWindow}
	recovery := tcpip.TCPRecovery(0)
	wait, retries := tcpip.TCPTimeWaitTimeoutOption(timeWait), tcpip.TCPSynRetriesOption(synRetries)
	for _, option := range []tcpip.SettableTransportProtocolOption{
		&sack, &moderate, &receive, &send, &recovery, &wait, &retries,
	} {
		if failure := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); failure != nil {
			return fmt.Errorf("set %T: %w", option, stackError(failure))
		}
	}
	return nil
}

func attach(s *stack.Stack, link stack.LinkEndpoint) error {
	if failure := s.CreateNIC(nicID, link); failure != nil {
		return stackError(failure)
	}
	// Every address is ours: to answer for it, and to answer from it.
	if failure := s.SetPromiscuousMode(nicID, true); failure != nil {
		return stackError(failure)
	}
	if failure := s.SetSpoofing(nicID, true); failure != nil {
		return stackError(failure)
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicID},
		{Destination: header.IPv6EmptySubnet, NIC: nicID},
	})
	return nil
}

// bound keeps the buffers of ep below window, if that is less than what the stack would let them grow to.
func bound(ep tcpip.Endpoint, window int) {
	if window < maxWindow {
		ep.SocketOptions().SetReceiveBufferSize(int64(window), true)
		ep.SocketOptions().SetSendBufferSize(int64(window), true)
	}
}

// keepAlivesOn makes the stack ask an application's host now and then whether it still knows of ep.
func keepAlivesOn(ep tcpip.Endpoint) {
	idle, interval := tcpip.KeepaliveIdleOption(keepAlive), tcpip.KeepaliveIntervalOption(keepAliveInterval)
	// These fail for options that TCP does not have.
	_ = ep.SetSockOpt(&idle)
	_ = ep.SetSockOpt(&interval)
	_ = ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepAliveCount)
	ep.SocketOptions().SetKeepAlive(true)
}
