package dialer

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// behaviour of a dnsServer.
type behaviour int

const (
	answers behaviour = iota
	fails             // SERVFAIL
	silent
	truncates // over UDP; answers over TCP
)

// dnsServer answers over UDP and TCP on one port of loopback.
type dnsServer struct {
	addr  netip.AddrPort
	does  behaviour
	hosts map[string]string // name with a dot at its end: addresses

	mu    sync.Mutex
	asked int
}

func startDNS(t *testing.T, does behaviour, hosts map[string]string) *dnsServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	pc, err := net.ListenPacket("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	s := &dnsServer{addr: addr, does: does, hosts: hosts}
	var serving sync.WaitGroup
	serving.Go(func() { s.serveUDP(pc) })
	serving.Go(func() { s.serveTCP(l) })
	t.Cleanup(func() {
		_ = pc.Close()
		_ = l.Close()
		serving.Wait()
	})
	return s
}

func (s *dnsServer) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *dnsServer) serveUDP(pc net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := s.reply(buf[:n], "udp"); reply != nil {
			_, _ = pc.WriteTo(reply, from)
		}
	}
}

func (s *dnsServer) serveTCP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err == nil {
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			_, _ = io.ReadFull(conn, query)
			reply := s.reply(query, "tcp")
			_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
		}
		_ = conn.Close()
	}
}

func (s *dnsServer) reply(query []byte, network string) []byte {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || s.does == silent {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	addrs, known := s.hosts[m.Questions[0].Name.String()]
	switch {
	case s.does == fails:
		m.RCode = dnsmessage.RCodeServerFailure
	case s.does == truncates && network == "udp":
		m.Truncated = true
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	default:
		for _, a := range ips(addrs) {
			m.Answers = appendAnswer(m.Answers, m.Questions[0], a)
		}
	}
	reply, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return reply
}

// appendAnswer appends a when it is of the type that was asked for.
func appendAnswer(rs []dnsmessage.Resource, q dnsmessage.Question, a netip.Addr) []dnsmessage.Resource {
	head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
	switch {
	case q.Type == dnsmessage.TypeA && a.Is4():
		return append(rs, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: a.As4()}})
	case q.Type == dnsmessage.TypeAAAA && a.Is6():
		return append(rs, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
	}
	return rs
}
