package h3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

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
	syscall.EPERM, syscall.ECONNREFUSED,
}

const (
	// sendAttempts is how often to send what meets an error that may belong to a packet before it.
	sendAttempts = 3
	// errorPause is how long not to read after an error for which there is no report: the runtime's poller
	// may fail for as long as the send buffer is full.
	errorPause = time.Millisecond
)

// socket is the UDP socket of one connection, as quic-go wants it to send and receive many packets at once.
// Once the handshake is over, the connection outlives a moment without a network, where quic-go would end it
// at the first packet that cannot be sent; and it is given no more packets than it can keep. ICMP does not
// end it either.
type socket struct {
	*net.UDPConn
	batch    *ipv4.PacketConn
	refusals refusals
	settled  atomic.Pointer[backlog] // nil during the handshake, when an error is an answer
}

// listen opens a socket for packets to addr. It calls nobody when the host there says that nothing listens,
// unless a packet has come by then.
func listen(ctx context.Context, n Net, addr netip.Addr, nobody func()) (*socket, error) {
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
	wantReports(udp)
	return &socket{
		UDPConn: udp, batch: ipv4.NewPacketConn(udp),
		refusals: refusals{unheard: nobody, came: make(chan struct{}, 1)},
	}, nil
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
	n, err := s.read(ms, flags)
	if n > 0 {
		s.refusals.heard.Store(true)
	}
	if b := s.settled.Load(); b != nil {
		for _, m := range ms[:max(n, 0)] {
			b.add(m.N)
		}
	}
	return n, err
}

// read waits for packets. Only the socket's own end is an error: quic-go would end the connection at any
// other, and a socket on which nothing comes any more is found by the silence.
func (s *socket) read(ms []ipv4.Message, flags int) (int, error) {
	for {
		n, err := s.batch.ReadBatch(ms, flags)
		if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if !s.takeReports() {
			time.Sleep(errorPause)
		}
	}
}

// WriteMsgUDP sends one packet or several. An error may be the report of an earlier packet, so another
// attempt is made. A full queue is none: the kernel tells of it only because we want reports.
func (s *socket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	s.refusals.sent(b)
	for range sendAttempts {
		n, oobn, err = s.UDPConn.WriteMsgUDP(b, oob, addr)
		switch {
		case errors.Is(err, syscall.ENOBUFS):
			return len(b), len(oob), nil
		case err == nil || errors.Is(err, net.ErrClosed):
			return n, oobn, err
		}
		s.takeReports()
	}
	if s.settled.Load() != nil && isPassing(err) {
		return len(b), len(oob), nil
	}
	return n, oobn, err
}

// takeReports looks through what ICMP reports, and tells whether there was anything.
func (s *socket) takeReports() bool { return takeReports(s.UDPConn, s.refusals.take) }

func isPassing(err error) bool {
	return slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
}
