package outlinetest

import (
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
)

// udpSocket is a UDP port that can lose everything. It keeps what makes the QUIC library fast on a
// net.UDPConn.
type udpSocket struct {
	*net.UDPConn
	batch *ipv4.PacketConn // reads many packets at once
	fault *faultBox

	mu     sync.Mutex
	frozen map[netip.AddrPort]struct{}
}

var _ quic.OOBCapablePacketConn = (*udpSocket)(nil)

func newUDPSocket(udp *net.UDPConn, fault *faultBox) *udpSocket {
	return &udpSocket{
		UDPConn: udp, batch: ipv4.NewPacketConn(udp), fault: fault,
		frozen: make(map[netip.AddrPort]struct{}),
	}
}

// freeze loses everything from and to an address from now on.
func (u *udpSocket) freeze(addr net.Addr) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.frozen[unmap(udp.AddrPort())] = struct{}{}
}

// loses tells whether a packet from or to an address is lost.
func (u *udpSocket) loses(addr net.Addr) bool {
	if f := u.fault.load(); f.BlockUDP || f.Freeze {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.frozen) == 0 {
		return false
	}
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return false
	}
	_, frozen := u.frozen[unmap(udp.AddrPort())]
	return frozen
}

// ReadBatch is how the library reads. A lost packet is one without bytes, which it ignores.
func (u *udpSocket) ReadBatch(messages []ipv4.Message, flags int) (int, error) {
	n, err := u.batch.ReadBatch(messages, flags)
	for i := range messages[:max(0, n)] {
		if u.loses(messages[i].Addr) {
			messages[i].N = 0
		}
	}
	return n, err
}

// WriteMsgUDP is how the library writes.
func (u *udpSocket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (int, int, error) {
	if u.loses(addr) {
		return len(b), len(oob), nil
	}
	return u.UDPConn.WriteMsgUDP(b, oob, addr)
}

// ReadFrom is how it reads on systems without more.
func (u *udpSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := u.UDPConn.ReadFrom(b)
		if err != nil || !u.loses(from) {
			return n, from, err
		}
	}
}

// WriteTo is how it writes there.
func (u *udpSocket) WriteTo(b []byte, addr net.Addr) (int, error) {
	if u.loses(addr) {
		return len(b), nil
	}
	return u.UDPConn.WriteTo(b, addr)
}
