package outlinetest_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestPacketEcho(t *testing.T) {
	for _, name := range []string{"chacha20-ietf-poly1305", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"} {
		for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
			t.Run(name+addr, func(t *testing.T) {
				echo := run(t)(outlinetest.StartUDPEcho(addr))
				s := start(t, outlinetest.Config{Cipher: name})
				c := mustDial(t, s, s.PacketURL())
				for _, data := range []string{"one", "two", ""} {
					c.send(c.packet(echo.Addr(), []byte(data)))
					want := append(socksAddr(echo.Addr()), data...)
					if got, err := c.answer(); !bytes.Equal(got, want) || err != nil {
						t.Errorf("answer = %q, %v, want %q", got, err, want)
					}
				}
			})
		}
	}
}

// One association reaches several targets, and a target that Hosts moved keeps its name.
func TestPacketTargets(t *testing.T) {
	first := run(t)(outlinetest.StartUDPEcho(""))
	second := run(t)(outlinetest.StartUDPEcho(""))
	s := start(t, outlinetest.Config{Hosts: map[string]string{
		"192.0.2.7:99":    second.Addr(),
		"example.test:99": first.Addr(),
	}})
	c := mustDial(t, s, s.PacketURL())
	rows := []struct{ name, target, source string }{
		{"address", first.Addr(), first.Addr()},
		{"moved address", "192.0.2.7:99", "192.0.2.7:99"},
		{"moved name", "example.test:99", first.Addr()},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c.send(c.packet("192.0.2.8:1", []byte("lost: not on loopback")))
			c.send(c.packet(row.target, []byte(row.name)))
			want := append(socksAddr(row.source), row.name...)
			if got, err := c.answer(); !bytes.Equal(got, want) || err != nil {
				t.Errorf("answer = %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestPacketThatDoesNotOpen(t *testing.T) {
	echo := run(t)(outlinetest.StartUDPEcho(""))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.PacketURL())
	c.send(c.packet(echo.Addr(), []byte("good")))
	if _, err := c.answer(); err != nil {
		t.Fatal(err)
	}
	c.send([]byte("short"))
	c.send(make([]byte, 100))
	c.send(c.packet(echo.Addr(), []byte("good")))
	if _, err := c.answer(); err != nil {
		t.Errorf("answer after bad packets: %v", err)
	}
	if got := s.Stats().BadPackets; got != 2 {
		t.Errorf("bad packets = %d, want 2", got)
	}
	fresh := mustDial(t, s, s.PacketURL())
	fresh.send(make([]byte, 100))
	if _, err := fresh.answer(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("first packet that does not open: %v, want a Close frame with 1000", err)
	}
}

// Several messages in one TLS record overrun the server's 4096-byte buffer, as with Outline's server.
func TestPacketsInOneRecord(t *testing.T) {
	echo := run(t)(outlinetest.StartUDPEcho(""))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.PacketURL())
	var wire []byte
	const packets = 10
	for range packets {
		wire = append(wire, outlinetest.Masked(c.packet(echo.Addr(), make([]byte, 1350)))...)
	}
	if _, err := c.ws.NetConn().Write(wire); err != nil {
		t.Fatal(err)
	}
	wait(t, s, func(st outlinetest.Stats) bool { return len(st.Targets)+st.BadPackets/2 >= packets })
	if got := s.Stats().BadPackets; got == 0 {
		t.Errorf("bad packets = 0, want some")
	}
	if got := len(s.Stats().Targets); got == 0 || got == packets {
		t.Errorf("packets that arrived = %d, want some of %d", got, packets)
	}
}

func TestAssociationEnds(t *testing.T) {
	const timeout = 100 * time.Millisecond
	echo := run(t)(outlinetest.StartUDPEcho(""))
	dns := run(t)(outlinetest.StartDNS(""))
	query := pack(t, "example.com.", dnsmessage.TypeA)
	hosts := map[string]string{"192.0.2.53:53": dns.Addr()}
	rows := []struct {
		name    string
		timeout time.Duration
		send    func(c *client)
		answers int
	}{
		{"idle", timeout, func(c *client) { c.send(c.packet(echo.Addr(), []byte("x"))) }, 1},
		{"one DNS query", 0, func(c *client) { c.send(c.packet("192.0.2.53:53", query)) }, 1},
		{"client", 0, (*client).closeWrite, 0},
		{"empty message", 0, func(c *client) { c.send(nil) }, 0},
		{"text", 0, func(c *client) { _ = c.ws.WriteMessage(websocket.TextMessage, []byte("x")) }, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := start(t, outlinetest.Config{AssociationTimeout: row.timeout, Hosts: hosts})
			c := mustDial(t, s, s.PacketURL())
			_ = c.ws.SetReadDeadline(time.Now().Add(patience / 4)) // far from the 17 s after a DNS query
			row.send(c)
			for range row.answers {
				if _, err := c.answer(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.answer(); !websocket.IsCloseError(err, 1000) {
				t.Errorf("end = %v, want a Close frame with 1000", err)
			}
			wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
		})
	}
}

// A second query to port 53 keeps the association open.
func TestTwoDNSQueries(t *testing.T) {
	dns := run(t)(outlinetest.StartDNS(""))
	s := start(t, outlinetest.Config{Hosts: map[string]string{"192.0.2.53:53": dns.Addr()}})
	c := mustDial(t, s, s.PacketURL())
	c.send(c.packet("192.0.2.53:5353", []byte("lost, but written first: not on loopback")))
	query := pack(t, "example.com.", dnsmessage.TypeA)
	echo := run(t)(outlinetest.StartUDPEcho(""))
	c.send(c.packet(echo.Addr(), []byte("first")))
	for range 3 {
		c.send(c.packet("192.0.2.53:53", query))
	}
	for range 4 {
		if _, err := c.answer(); err != nil {
			t.Fatalf("answer: %v", err)
		}
	}
}

func pack(t *testing.T, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET,
		}},
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDNS(t *testing.T) {
	dns := run(t)(outlinetest.StartDNS(""))
	rows := []struct {
		name  string
		query string
		kind  dnsmessage.Type
		code  dnsmessage.RCode
		want  string
	}{
		{"A", "example.com.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, outlinetest.DNSAddr4},
		{"AAAA", "example.com.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, outlinetest.DNSAddr6},
		{"TXT", "example.com.", dnsmessage.TypeTXT, dnsmessage.RCodeSuccess, ""},
		{"no such name", "Nothing.Invalid.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
	}
	conn, err := net.Dial("udp", dns.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = conn.Write([]byte("not a query, and not answered"))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if _, err := conn.Write(pack(t, row.query, row.kind)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 512)
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			var m dnsmessage.Message
			if err := m.Unpack(buf[:n]); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, a := range m.Answers {
				switch body := a.Body.(type) {
				case *dnsmessage.AResource:
					got = net.IP(body.A[:]).String()
				case *dnsmessage.AAAAResource:
					got = net.IP(body.AAAA[:]).String()
				}
			}
			if m.ID != 7 || m.RCode != row.code || got != row.want {
				t.Errorf("answer = id %d, %v, %q, want 7, %v, %q", m.ID, m.RCode, got, row.code, row.want)
			}
		})
	}
}
