// Package socksaddr is the target address in the binary form that SOCKS5 (RFC 1928, section 5) and
// Shadowsocks share: a type byte, then an IPv4 address, an IPv6 address or a domain name, then a port.
package socksaddr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
)

// Address types on the wire.
const (
	typeIPv4   = 1
	typeDomain = 3
	typeIPv6   = 4
)

// MaxLen is the length of the longest address: type, length, 255 bytes of name, port.
const MaxLen = 1 + 1 + 255 + 2

var (
	// ErrShort says that the bytes end before the address does.
	ErrShort = errors.New("address is cut short")
	// ErrType says that the address type is none of the three.
	ErrType = errors.New("unknown address type")
	// ErrDomain says that a domain name is empty, too long or has bytes that no host name has.
	ErrDomain = errors.New("bad domain name")

	errNoHost = errors.New("address without a host")
)

// Addr is one target. It is comparable, and the zero value is no address. It implements net.Addr.
type Addr struct {
	ip   netip.Addr // valid, or
	name string     // not empty
	port uint16
}

var _ net.Addr = Addr{}

// FromAddrPort returns ap as an Addr. An IPv4 address mapped into IPv6 becomes plain IPv4, a zone is dropped.
func FromAddrPort(ap netip.AddrPort) Addr {
	return Addr{ip: ap.Addr().Unmap().WithZone(""), port: ap.Port()}
}

// FromNetAddr returns what a socket reported as an Addr. An address without a host is an error.
func FromNetAddr(a net.Addr) (Addr, error) {
	var ap netip.AddrPort
	switch a := a.(type) {
	case nil:
		return Addr{}, errNoHost
	case Addr:
		return a, nil
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	default:
		return Parse(a.String())
	}
	if !ap.IsValid() {
		return Addr{}, errNoHost
	}
	return FromAddrPort(ap), nil
}

// Parse reads "host:port"; an IPv6 host stands in brackets.
func Parse(hostport string) (Addr, error) {
	host, portText, err := net.SplitHostPort(hostport)
	if err != nil {
		return Addr{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return Addr{}, fmt.Errorf("address %q: bad port", hostport)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return FromAddrPort(netip.AddrPortFrom(ip, uint16(port))), nil
	}
	if !validName(host) {
		return Addr{}, fmt.Errorf("address %q: %w", hostport, ErrDomain)
	}
	return Addr{name: host, port: uint16(port)}, nil
}

// Cut parses the address at the start of b and returns the bytes behind it.
func Cut(b []byte) (a Addr, rest []byte, err error) {
	n, err := wireLen(b)
	if err != nil {
		return Addr{}, nil, err
	}
	if len(b) < n {
		return Addr{}, nil, ErrShort
	}
	a.port = binary.BigEndian.Uint16(b[n-2 : n])
	switch b[0] {
	case typeIPv4:
		a.ip = netip.AddrFrom4([4]byte(b[1:5]))
	case typeIPv6:
		a.ip = netip.AddrFrom16([16]byte(b[1:17])).Unmap()
	default:
		a.setName(string(b[2 : n-2]))
	}
	if !a.ip.IsValid() && !validName(a.name) {
		return Addr{}, nil, ErrDomain
	}
	return a, b[n:], nil
}

// Read reads exactly one address from r. The error is io.EOF only if there was nothing to read at all.
func Read(r io.Reader) (Addr, error) {
	var b [MaxLen]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return Addr{}, err
	}
	n, err := wireLen(b[:2])
	if err != nil {
		return Addr{}, err
	}
	if _, err := io.ReadFull(r, b[2:n]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Addr{}, err
	}
	a, _, err := Cut(b[:n])
	return a, err
}

// wireLen returns the length of the address that starts with b, of which two bytes are enough.
func wireLen(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, ErrShort
	}
	switch b[0] {
	case typeIPv4:
		return 1 + 4 + 2, nil
	case typeIPv6:
		return 1 + 16 + 2, nil
	case typeDomain:
		return 1 + 1 + int(b[1]) + 2, nil
	}
	return 0, fmt.Errorf("%w %d", ErrType, b[0])
}

// setName stores a domain name; one that spells an IP address, as some clients send it, becomes that address.
func (a *Addr) setName(s string) {
	if ip, err := netip.ParseAddr(s); err == nil {
		a.ip = ip.Unmap().WithZone("")
		return
	}
	a.name = s
}

// validName accepts what can be a host name in the widest sense: 1 to 255 printable bytes. Control characters
// and spaces are refused because names end up in logs and in other protocols; colons and brackets because the
// name could not be told from the port in "host:port".
func validName(s string) bool {
	if len(s) == 0 || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ', c == 0x7f, c == ':', c == '[', c == ']':
			return false
		}
	}
	return true
}

// Append appends the wire form to b. The zero Addr is written as 0.0.0.0:0.
func (a Addr) Append(b []byte) []byte {
	switch {
	case a.ip.Is6():
		ip := a.ip.As16()
		b = append(append(b, typeIPv6), ip[:]...)
	case a.name != "":
		b = append(append(b, typeDomain, byte(len(a.name))), a.name...)
	default:
		var ip [4]byte
		if a.ip.Is4() {
			ip = a.ip.As4()
		}
		b = append(append(b, typeIPv4), ip[:]...)
	}
	return binary.BigEndian.AppendUint16(b, a.port)
}

// Len is the length of the wire form.
func (a Addr) Len() int {
	switch {
	case a.ip.Is6():
		return 1 + 16 + 2
	case a.name != "":
		return 1 + 1 + len(a.name) + 2
	}
	return 1 + 4 + 2
}

// IP returns the IP address, or the invalid netip.Addr for a domain name.
func (a Addr) IP() netip.Addr { return a.ip }

// Host returns the IP address or the name as text, without brackets.
func (a Addr) Host() string {
	if a.ip.IsValid() {
		return a.ip.String()
	}
	return a.name
}

// Port returns the port.
func (a Addr) Port() uint16 { return a.port }

// Network implements net.Addr.
func (a Addr) Network() string { return "udp" }

// String returns "host:port" with IPv6 in brackets, as Parse reads it.
func (a Addr) String() string {
	return net.JoinHostPort(a.Host(), strconv.Itoa(int(a.port)))
}
