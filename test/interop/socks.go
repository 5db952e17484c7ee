package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// handshakeTimeout bounds a SOCKS5 handshake, the opening of the flow behind it included.
const handshakeTimeout = 15 * time.Second

// SOCKS5 commands (RFC 1928, section 4).
const (
	socksConnect   = 1
	socksAssociate = 3
)

// ReplyError is a SOCKS5 reply other than success.
type ReplyError byte

func (e ReplyError) Error() string { return fmt.Sprintf("socks reply %d", byte(e)) }

// DialSOCKS opens a stream to target through the SOCKS5 server at addr.
func DialSOCKS(ctx context.Context, addr string, target netip.AddrPort) (*net.TCPConn, error) {
	conn, _, err := request(ctx, addr, socksConnect, target)
	return conn, err
}

// Association is the datagram side of a SOCKS5 server.
type Association struct {
	control *net.TCPConn
	relay   *net.UDPConn
}

// Associate opens an association with the SOCKS5 server at addr.
func Associate(ctx context.Context, addr string) (*Association, error) {
	host, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	anywhere := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if host.Addr().Is6() {
		anywhere = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	control, bound, err := request(ctx, addr, socksAssociate, anywhere)
	if err != nil {
		return nil, err
	}
	relay, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(bound))
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	return &Association{control, relay}, nil
}

// Close ends the association.
func (a *Association) Close() error {
	_ = a.relay.Close()
	return a.control.Close()
}

// Send sends one datagram to target.
func (a *Association) Send(target netip.AddrPort, payload []byte) error {
	packet := appendSOCKSAddr([]byte{0, 0, 0}, target) // RSV, RSV, FRAG
	_, err := a.relay.Write(append(packet, payload...))
	return err
}

// Receive waits until deadline for one datagram and returns it with its source. payload is valid until buf is
// used again.
func (a *Association) Receive(buf []byte, deadline time.Time) (
	payload []byte, from netip.AddrPort, err error,
) {
	if err := a.relay.SetReadDeadline(deadline); err != nil {
		return nil, from, err
	}
	n, err := a.relay.Read(buf)
	if err != nil {
		return nil, from, err
	}
	const header = 3
	if n < header || buf[2] != 0 {
		return nil, from, fmt.Errorf("datagram % x is no whole SOCKS5 datagram", buf[:min(n, header)])
	}
	from, size, err := parseSOCKSAddr(buf[header:n])
	if err != nil {
		return nil, from, err
	}
	return buf[header+size : n], from, nil
}

// request does the handshake without authentication and returns the address of the reply.
func request(ctx context.Context, addr string, command byte, target netip.AddrPort) (
	*net.TCPConn, netip.AddrPort, error,
) {
	var bound netip.AddrPort
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, bound, err
	}
	if err = conn.SetDeadline(time.Now().Add(handshakeTimeout)); err == nil {
		bound, err = handshake(conn, command, target)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, bound, err
	}
	return conn.(*net.TCPConn), bound, nil
}

func handshake(conn net.Conn, command byte, target netip.AddrPort) (bound netip.AddrPort, err error) {
	if _, err := conn.Write([]byte{5, 1, 0}); err != nil {
		return bound, err
	}
	var method [2]byte
	if _, err := io.ReadFull(conn, method[:]); err != nil {
		return bound, err
	}
	if method != [2]byte{5, 0} {
		return bound, fmt.Errorf("socks method % x", method)
	}
	if _, err := conn.Write(appendSOCKSAddr([]byte{5, command, 0}, target)); err != nil {
		return bound, err
	}
	reply := make([]byte, 4, 4+net.IPv6len+2)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return bound, err
	}
	if reply[1] != 0 {
		return bound, ReplyError(reply[1])
	}
	size := net.IPv4len
	if reply[3] == 4 {
		size = net.IPv6len
	}
	reply = reply[:4+size+2]
	if _, err := io.ReadFull(conn, reply[4:]); err != nil {
		return bound, err
	}
	bound, _, err = parseSOCKSAddr(reply[3:])
	return bound, err
}

// appendSOCKSAddr appends an address as SOCKS5 and Shadowsocks write it.
func appendSOCKSAddr(b []byte, addr netip.AddrPort) []byte {
	kind := byte(1)
	if addr.Addr().Is6() {
		kind = 4
	}
	b = append(b, kind)
	b = append(b, addr.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, addr.Port())
}

// parseSOCKSAddr is the inverse for IP addresses; size is what it took of b.
func parseSOCKSAddr(b []byte) (addr netip.AddrPort, size int, err error) {
	sizes := map[byte]int{1: net.IPv4len, 4: net.IPv6len}
	if len(b) == 0 || sizes[b[0]] == 0 || len(b) < 1+sizes[b[0]]+2 {
		return addr, 0, fmt.Errorf("no IP address of SOCKS5 form in % x", b[:min(len(b), 24)])
	}
	end := 1 + sizes[b[0]]
	ip, _ := netip.AddrFromSlice(b[1:end]) // the length is right
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[end:])), end + 2, nil
}
