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

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
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

// socket is the UDP socket of one connection, as quic-go wants it to send and receive many packets at once.
// Once the handshake is over, the connection outlives a moment without a network, where quic-go would end it
// at the first packet that cannot be sent; and it is given no more packets than it can keep.
type socket struct {
	*net.UDPConn
	batch   *ipv4.PacketConn
	settled atomic.Pointer[backlog] // nil during the handshake, when an error is an answer
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
	return &socket{UDPConn: udp, batch: ipv4.NewPacketConn(udp)}, nil
}

// settle begins what the socket does for a connection whose handshake is over.
func (s *socket) settle(c *quic.Conn) {
	processed := func() uint64 { return c.ConnectionStats().BytesReceived }
	s.settled.Store(&backlog{processed: processed, delivered: processed()})
}

// ReadBatch receives packets. quic-go's one reading goroutine calls it, for IPv6 too: the messages are the
// same.
func (s *socket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	if b := s.settled.Load(); b != nil {
		b.wait()
	}
	n, err := s.batch.ReadBatch(ms, flags)
	if b := s.settled.Load(); b != nil {
		for _, m := range ms[:max(n, 0)] {
			b.add(m.N)
		}
	}
	return n, err
}

// WriteMsgUDP sends one packet or several.
func (s *socket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = s.UDPConn.WriteMsgUDP(b, oob, addr)
	if err != nil && s.settled.Load() != nil && isPassing(err) {
		return len(b), len(oob), nil
	}
	return n, oobn, err
}

func isPassing(err error) bool {
	return slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
}
