package outlinetest

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	packetBuffer = 64 << 10
	dnsPort      = 53
	dnsTimeout   = 17 * time.Second // RFC 5452, section 10, as Outline reads it
	labelsKept   = 1024
)

// servePacket is one WebSocket of websocket-packet: an association.
func (s *Server) servePacket(c *socket) {
	defer c.Close()
	var a *association
	buf := make([]byte, packetBuffer)
	for {
		n, err := c.readPacket(buf)
		if err != nil {
			break
		}
		addr, payload, err := s.openPacket(buf[:n])
		if err != nil {
			s.stats.update(func(t *Stats) { t.BadPackets++ })
		}
		if a == nil && err == nil {
			a, err = s.newAssociation(c)
		}
		if a == nil {
			return
		}
		if err == nil {
			s.stats.target(addr)
			a.write(addr, payload)
		}
	}
	if a != nil {
		a.close()
	}
	if c.hold {
		c.outwait()
	}
}

// openPacket returns the target and the payload of a packet.
func (s *Server) openPacket(packet []byte) (string, []byte, error) {
	if s.fault.on(PacketEndpoint).Stage == WrongSecret {
		return "", nil, errNoOpen
	}
	plain, err := s.key.openPacket(packet)
	if err != nil {
		return "", nil, err
	}
	rest := bytes.NewReader(plain)
	addr, err := readAddr(rest)
	return addr, plain[len(plain)-rest.Len():], err
}

// association is the socket through which all packets of a WebSocket go, to any target.
type association struct {
	server *Server
	client *socket
	udp    *net.UDPConn
	done   sync.WaitGroup // the answers

	mu       sync.Mutex
	labels   map[netip.AddrPort]netip.AddrPort // from where Hosts moved a target to what it is called
	deadline time.Time                         // of the answers
	writes   int
	dnsOnly  bool // the only write was to port 53
}

func (s *Server) newAssociation(c *socket) (*association, error) {
	udp, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, err
	}
	a := &association{server: s, client: c, udp: udp, labels: make(map[netip.AddrPort]netip.AddrPort)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = udp.Close()
		return nil, net.ErrClosed
	}
	s.targets[udp] = struct{}{}
	a.done.Go(a.answers)
	return a, nil
}

// write sends a payload to a target. A target that cannot be reached loses it, as UDP does.
func (a *association) write(addr string, payload []byte) {
	place, err := a.place(addr)
	if err != nil {
		return
	}
	a.extend(addr)
	_, _ = a.udp.WriteToUDPAddrPort(payload, place)
}

// place finds where a target is and remembers what the client calls it.
func (a *association) place(addr string) (netip.AddrPort, error) {
	host, mapped := a.server.config.Hosts[addr]
	if !mapped {
		host = addr
		if err := a.server.allow(addr); err != nil {
			return netip.AddrPort{}, err
		}
	}
	resolved, err := net.ResolveUDPAddr("udp", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	place := unmap(resolved.AddrPort())
	if label, err := netip.ParseAddrPort(addr); err == nil && mapped {
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.labels) < labelsKept {
			a.labels[place] = label
		}
	}
	return place, nil
}

// extend moves the deadline: only what the client sends keeps an association.
func (a *association) extend(addr string) {
	timeout := a.server.config.AssociationTimeout
	_, port, _ := net.SplitHostPort(addr)
	dns := port == "53"
	if dns {
		timeout = min(timeout, dnsTimeout)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writes++
	a.dnsOnly = dns && a.writes == 1
	if deadline := time.Now().Add(timeout); deadline.After(a.deadline) {
		a.deadline = deadline
		_ = a.udp.SetReadDeadline(deadline)
	}
}

// answers relays what targets send until the deadline, then closes the WebSocket.
func (a *association) answers() {
	buf := make([]byte, packetBuffer)
	for {
		n, from, err := a.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			break
		}
		from = unmap(from)
		if err != nil || !from.Addr().IsLoopback() && !a.server.config.AnyTarget {
			continue
		}
		from, last := a.label(from)
		if !a.answer(from, buf[:n]) {
			return
		}
		if last {
			break
		}
	}
	a.client.Close()
}

// label names a source as the client knows it, and tells whether its answer is the association's last.
func (a *association) label(from netip.AddrPort) (netip.AddrPort, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if label, ok := a.labels[from]; ok {
		from = label
	}
	return from, a.dnsOnly && from.Port() == dnsPort
}

// answer sends one packet. It reports whether the association goes on.
func (a *association) answer(from netip.AddrPort, payload []byte) bool {
	packet, err := a.server.key.sealPacket(append(appendAddr(nil, from), payload...))
	if err != nil {
		return true
	}
	if a.client.room() == 0 {
		a.client.finish(packet)
		return false
	}
	// A write that fails is the reader's to notice.
	_ = a.client.send(packet, len(payload))
	return true
}

// close ends the association and waits for its answers.
func (a *association) close() {
	a.server.forget(a.udp)
	a.done.Wait()
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
