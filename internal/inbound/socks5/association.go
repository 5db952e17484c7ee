package socks5

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// headerLen is the part of the header (RFC 1928, section 7) before the address: two reserved bytes and FRAG.
const headerLen = 3

var errNoClient = errors.New("no client has sent to this association")

// association is the client's side of a UDP flow. The header goes off in ReadFrom, which returns the target,
// and on in WriteTo, which takes the source. ReadFrom and WaitRead are for one goroutine, the rest is for
// all.
type association struct {
	socket   *net.UDPConn
	owner    netip.Addr // the only address that may send here
	observer Observer
	waiter

	port  atomic.Uint32      // the client's, 0 while not known
	names socksaddr.Interner // the reader's

	mu  sync.Mutex
	out []byte // the datagram being sent; as large as the largest so far
}

var _ net.PacketConn = (*association)(nil)

// newAssociation owns socket. port is the only source port to take datagrams from, 0 for that of the first
// one.
func newAssociation(socket *net.UDPConn, owner netip.Addr, port uint16, o Observer) (*association, error) {
	w, err := newWaiter(socket)
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	a := &association{socket: socket, owner: owner, observer: o, waiter: w}
	a.port.Store(uint32(port))
	return a, nil
}

// ReadFrom returns the payload of the next datagram from the client, and its target. p must have room for the
// header too: what is longer than p comes cut.
func (a *association) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := a.socket.ReadFromUDPAddrPort(p)
		if err != nil {
			return 0, nil, err
		}
		target, payload, drop := a.open(p[:n], from)
		if drop == "" {
			return copy(p, payload), target, nil
		}
		a.observer.PacketDropped(drop)
	}
}

// open checks a datagram and takes its header off. It returns the reason if the datagram is to be dropped.
func (a *association) open(b []byte, from netip.AddrPort) (target net.Addr, payload []byte, drop string) {
	port := uint32(from.Port())
	locked := a.port.Load()
	if from.Addr().Unmap() != a.owner || locked != 0 && locked != port {
		return nil, nil, dropSource
	}
	target, payload, drop = cutHeader(b, &a.names)
	if drop == "" && locked == 0 {
		a.port.Store(port)
	}
	return target, payload, drop
}

// cutHeader parses the header of a client's datagram. The reserved bytes may be anything.
func cutHeader(b []byte, names *socksaddr.Interner) (target net.Addr, payload []byte, drop string) {
	if len(b) < headerLen {
		return nil, nil, dropHeader
	}
	if b[2] != 0 {
		return nil, nil, dropFragment
	}
	target, payload, err := names.Cut(b[headerLen:])
	if err != nil {
		return nil, nil, dropHeader
	}
	return target, payload, ""
}

// WriteTo sends the client a payload that came from source.
func (a *association) WriteTo(payload []byte, source net.Addr) (int, error) {
	from, err := socksaddr.FromNetAddr(source)
	if err != nil {
		return 0, err
	}
	port := a.port.Load()
	if port == 0 {
		return 0, errNoClient
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out = append(a.out[:0], 0, 0, 0)
	a.out = append(from.Append(a.out), payload...)
	if _, err := a.socket.WriteToUDPAddrPort(a.out, netip.AddrPortFrom(a.owner, uint16(port))); err != nil {
		return 0, err
	}
	return len(payload), nil
}

func (a *association) Close() error                       { return a.socket.Close() }
func (a *association) LocalAddr() net.Addr                { return a.socket.LocalAddr() }
func (a *association) SetDeadline(t time.Time) error      { return a.socket.SetDeadline(t) }
func (a *association) SetReadDeadline(t time.Time) error  { return a.socket.SetReadDeadline(t) }
func (a *association) SetWriteDeadline(t time.Time) error { return a.socket.SetWriteDeadline(t) }
