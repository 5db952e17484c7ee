package dialer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
	"weak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Two questions of TCP, sent urgentInterval apart, are all that a peer gets after a change of the network.
const (
	urgentInterval = time.Second
	urgentCount    = 2
)

// usual finds a peer that vanished within a minute.
var usual = net.KeepAliveConfig{
	Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
}

// errChanged ends an attempt to connect that a change of the network has made pointless.
var errChanged = errors.New("the network of this host has changed")

// Sockets are the TCP connections that dialers have open, for what a change of the network does to all of
// them, whoever uses them and for what. The zero value is ready; methods may be called concurrently.
//
// They are held by weak pointers: a connection that is closed and forgotten leaves no trace.
type Sockets struct {
	mu      sync.Mutex
	open    []weak.Pointer[net.TCPConn]
	sweepAt int           // how many there may be before those that are gone are swept out
	changed chan struct{} // closed with the next change; nil while nobody waits for it
	asleep  bool          // there is no network
}

// minSweep is how many there may be at least before they are swept.
const minSweep = 64

func (s *Sockets) add(c *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= max(s.sweepAt, minSweep) {
		kept := s.open[:0]
		for _, p := range s.open {
			if p.Value() != nil {
				kept = append(kept, p)
			}
		}
		clear(s.open[len(kept):])
		s.open, s.sweepAt = kept, 2*len(kept)
	}
	s.open = append(s.open, weak.Make(c))
}

// all are the connections that somebody still uses.
func (s *Sockets) all() []*net.TCPConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var conns []*net.TCPConn
	for _, p := range s.open {
		if c := p.Value(); c != nil {
			conns = append(conns, c)
		}
	}
	return conns
}

// renew begins all attempts to connect anew: the kernel repeats what it sent in vain after ever longer
// pauses.
func (s *Sockets) renew() { s.change(false) }

// rest ends all attempts, and has those to come fail.
func (s *Sockets) rest() { s.change(true) }

func (s *Sockets) resting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asleep
}

func (s *Sockets) change(asleep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asleep = asleep
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Drop ends the connections from addresses that this host has no longer, as if the peer had ended them, and
// returns how many those were.
func (s *Sockets) Drop() int { return s.dropUnless(ownership()) }

func (s *Sockets) dropUnless(owned func(netip.Addr) bool) (dropped int) {
	for _, c := range s.all() {
		local := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
		if !owned(local) && c.CloseRead() == nil { // which wakes whoever reads
			_ = c.CloseWrite()
			dropped++
		}
	}
	return dropped
}

// Ask has the kernel ask every peer for a sign of life. A connection with nothing on its way whose peer gives
// none fails after about two seconds. Relax ends the haste.
func (s *Sockets) Ask() {
	for _, c := range s.all() {
		// The second call is what has the kernel look at its clock, which needs the new limits.
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: -1, Interval: urgentInterval, Count: urgentCount,
		})
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: urgentInterval, Interval: -1, Count: -1,
		})
	}
}

// Relax makes keep-alive what it usually is.
func (s *Sockets) Relax() {
	for _, c := range s.all() {
		_ = c.SetKeepAliveConfig(usual)
	}
}

// persistent is a connect that begins anew whenever the network changes, and fails while there is none.
func (s *Sockets) persistent(connect connectFunc) connectFunc {
	return func(ctx context.Context, addr netip.AddrPort) (transport.StreamConn, error) {
		for {
			conn, err := s.attempt(ctx, addr, connect)
			if !errors.Is(err, errChanged) {
				return conn, err
			}
		}
	}
}

// attempt connects unless the network changes first, which is errChanged.
func (s *Sockets) attempt(
	ctx context.Context, addr netip.AddrPort, connect connectFunc,
) (transport.StreamConn, error) {
	changed, err := s.nextChange()
	if err != nil {
		return nil, err
	}
	trying, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-over:
		}
	})
	conn, err := connect(trying, addr)
	pointless := trying.Err() != nil && ctx.Err() == nil
	close(over)
	watching.Wait()
	cancel()
	if err != nil && pointless {
		return nil, errChanged
	}
	return conn, err
}

// nextChange returns what is closed with the next change, or says that there is no network.
func (s *Sockets) nextChange() (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asleep {
		return nil, transport.ErrNoNetwork
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed, nil
}

// ownership returns a function that reports whether this host has an address now.
func ownership() func(netip.Addr) bool {
	known := make(map[netip.Addr]bool)
	found, err := net.InterfaceAddrs()
	for _, a := range found {
		if prefix, ok := a.(*net.IPNet); ok {
			ip, _ := netip.AddrFromSlice(prefix.IP)
			known[ip.Unmap()] = true
		}
	}
	return func(ip netip.Addr) bool {
		owned, ok := known[ip]
		if !ok {
			owned = err != nil || bindable(ip)
			known[ip] = owned
		}
		return owned
	}
}

// bindable reports whether an address that no interface has is one of ours all the same, by a local route.
func bindable(ip netip.Addr) bool {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		return !errors.Is(err, syscall.EADDRNOTAVAIL)
	}
	_ = c.Close()
	return true
}
