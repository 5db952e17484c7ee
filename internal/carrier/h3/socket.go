package h3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
)

// Net opens the sockets below and looks names up.
type Net interface {
	// LookupAddrs returns the addresses of a name or of an IP address, the best first.
	LookupAddrs(ctx context.Context, host string) ([]netip.Addr, error)
	// ListenPacket returns a UDP socket; network is "udp4" or "udp6".
	ListenPacket(ctx context.Context, network string) (net.PacketConn, error)
}

// passing are errors of a machine that changes networks, and of a firewall rule: like the loss of a packet.
var passing = []error{
	syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL,
	syscall.ENOBUFS, syscall.EPERM,
}

// socket is a UDP socket whose connection outlives a moment without a network: quic-go would end it at the
// first packet that cannot be sent. It keeps what quic-go needs of a net.UDPConn to send and receive many
// packets at once.
type socket struct {
	*net.UDPConn
	settled atomic.Bool // the handshake is over; before, an error is an answer
}

// listen opens a socket for packets to addr.
func listen(ctx context.Context, n Net, addr netip.Addr) (*socket, error) {
	network := "udp6"
	if addr.Is4() {
		network = "udp4"
	}
	conn, err := n.ListenPacket(ctx, network)
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("open %s socket: %T is no UDP socket", network, conn)
	}
	return &socket{UDPConn: udp}, nil
}

// WriteMsgUDP sends one packet or several.
func (s *socket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = s.UDPConn.WriteMsgUDP(b, oob, addr)
	if err != nil && s.settled.Load() && isPassing(err) {
		return len(b), len(oob), nil
	}
	return n, oobn, err
}

func isPassing(err error) bool {
	return slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
}
