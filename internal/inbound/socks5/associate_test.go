package socks5

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// associated is a client with an association.
type associated struct {
	*running
	control *wire
	network *packetNet
	relay   netip.AddrPort // where the reply said to send to
}

// associate asks r for an association with the given DST.
func associate(t *testing.T, s *Server, listen string, named socksaddr.Addr) *associated {
	t.Helper()
	network := newPacketNet(t)
	s.Packet = network
	r := startOn(t, s, listen)
	c := r.dial()
	c.send(helloOpen + "\x05\x03\x00" + string(named.Append(nil)))
	c.want(acceptOpen + "\x05\x00\x00")
	bound, err := socksaddr.Read(c.Conn)
	if err != nil {
		t.Fatal(err)
	}
	r.seen.want(t, "opened udp")
	return &associated{r, c, network, netip.AddrPortFrom(bound.IP(), bound.Port())}
}

// datagrams opens a client's UDP socket at an address of the same host.
func (a *associated) datagrams(local string) *wire {
	a.t.Helper()
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(local)),
		net.UDPAddrFromAddrPort(a.relay))
	if err != nil {
		a.t.Fatal(err)
	}
	return newWire(a.t, c)
}

// wantDatagram receives one datagram.
func (w *wire) wantDatagram(s string) {
	w.t.Helper()
	buf := make([]byte, 65535)
	n, err := w.Read(buf)
	if err != nil || string(buf[:n]) != s {
		w.t.Fatalf("received %q, %v, want %q", buf[:n], err, s)
	}
}

const (
	toExample = "\x00\x00\x00" + exampleAddr
	fromDNS   = "\x00\x00\x00\x01\x08\x08\x08\x08\x00\x35"
)

func TestAssociate(t *testing.T) {
	tests := []struct{ name, listen, want, client string }{
		{"ipv4", "127.0.0.1:0", "127.0.0.1", "127.0.0.1:0"},
		{"ipv6", "[::1]:0", "::1", "[::1]:0"},
		{"dual stack", "[::]:0", "", ""}, // as the client came in
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := associate(t, &Server{}, tt.listen, socksaddr.Addr{})
			want, local := tt.want, tt.client
			if want == "" {
				host := hostOf(a.control.RemoteAddr())
				want, local = host.String(), netip.AddrPortFrom(host, 0).String()
			}
			if got := a.relay.Addr().String(); got != want {
				t.Fatalf("the reply names %v, want %s", a.relay, want)
			}
			c := a.datagrams(local)
			c.send(toExample + "question")
			a.network.want(packet{"question", "example.com:80"})
			a.network.answers <- packet{"answer", "8.8.8.8:53"}
			c.wantDatagram(fromDNS + "answer")
			c.send(toExample) // an empty payload is a datagram
			a.network.want(packet{"", "example.com:80"})
			a.network.answers <- packet{"", "8.8.8.8:53"}
			c.wantDatagram(fromDNS)
			a.control.closeWrite()
			a.control.wantEnd()
			a.seen.want(t, "closed udp")
			a.wantLog("level=DEBUG", `msg="flow closed"`, "proto=udp", "sent=8", "received=6")
			a.wantSocketGone()
		})
	}
}

// wantSocketGone: the port can be bound again.
func (a *associated) wantSocketGone() {
	a.t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a.relay))
	if err != nil {
		a.t.Fatalf("the association's socket is still open: %v", err)
	}
	c.Close()
}

// TestAssociateDualStackIPv4: an IPv4 client of an IPv6 listener gets an IPv4 socket.
func TestAssociateDualStackIPv4(t *testing.T) {
	network := newPacketNet(t)
	r := startOn(t, &Server{Settings: Settings{Packet: network}}, "[::]:0")
	_, port, err := net.SplitHostPort(r.address)
	if err != nil {
		t.Fatal(err)
	}
	r.address = net.JoinHostPort("127.0.0.1", port)
	c := r.dial()
	c.send(helloOpen + associateAny)
	c.want(acceptOpen + "\x05\x00\x00\x01\x7f\x00\x00\x01")
	var boundPort [2]byte
	if _, err := io.ReadFull(c.Conn, boundPort[:]); err != nil {
		t.Fatal(err)
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	a := &associated{r, c, network, netip.AddrPortFrom(loopback, binary.BigEndian.Uint16(boundPort[:]))}
	u := a.datagrams("127.0.0.1:0")
	u.send(toExample + "question")
	network.want(packet{"question", "example.com:80"})
}

func TestAssociateAdvertises(t *testing.T) {
	s := &Server{Settings: Settings{UDPAdvertise: netip.MustParseAddr("192.0.2.7")}}
	a := associate(t, s, "127.0.0.1:0", socksaddr.Addr{})
	if got := a.relay.Addr().String(); got != "192.0.2.7" {
		t.Fatalf("the reply names %v, want 192.0.2.7", a.relay)
	}
	a.relay = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.relay.Port()) // what a NAT would do
	a.datagrams("127.0.0.1:0").send(toExample + "question")
	a.network.want(packet{"question", "example.com:80"})
}

// TestAssociateAdvertisesToItsFamily: a client that came over IPv4 could not send to an IPv6 address.
func TestAssociateAdvertisesToItsFamily(t *testing.T) {
	s := &Server{Settings: Settings{UDPAdvertise: netip.MustParseAddr("2001:db8::7")}}
	a := associate(t, s, "127.0.0.1:0", socksaddr.Addr{})
	if got := a.relay.Addr().String(); got != "127.0.0.1" {
		t.Fatalf("the reply names %v, want the socket's own address", a.relay)
	}
}

func TestAssociateDropsForeignSource(t *testing.T) {
	a := associate(t, &Server{}, "127.0.0.1:0", socksaddr.Addr{})
	other := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}
	foreign, err := net.DialUDP("udp4", other, net.UDPAddrFromAddrPort(a.relay))
	if err != nil {
		t.Skipf("no second loopback address here: %v", err)
	}
	newWire(t, foreign).send(toExample + "intruder")
	a.seen.want(t, "dropped source")
	a.datagrams("127.0.0.1:0").send(toExample + "client")
	a.network.want(packet{"client", "example.com:80"})
}

// TestAssociateKeepsFirstPort: the first valid datagram decides, and what is not valid decides nothing.
func TestAssociateKeepsFirstPort(t *testing.T) {
	a := associate(t, &Server{}, "127.0.0.1:0", socksaddr.Addr{})
	first, second := a.datagrams("127.0.0.1:0"), a.datagrams("127.0.0.1:0")
	second.send("\x00\x00\x00\x07")
	a.seen.want(t, "dropped header")
	second.send("\x00\x00\x01" + exampleAddr + "fragment")
	a.seen.want(t, "dropped fragment")
	second.send("\x00")
	a.seen.want(t, "dropped header")
	first.send(toExample + "1")
	a.network.want(packet{"1", "example.com:80"})
	second.send(toExample + "2")
	a.seen.want(t, "dropped source")
	a.network.answers <- packet{"answer", "8.8.8.8:53"}
	first.wantDatagram(fromDNS + "answer")
	first.send(toExample + "3")
	a.network.want(packet{"3", "example.com:80"})
}

func TestAssociateNamedPort(t *testing.T) {
	// The test holds the port that it names.
	own, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	ownAddr := own.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, named := range []string{fmt.Sprintf("0.0.0.0:%d", ownAddr.Port()), ownAddr.String()} {
		t.Run(named, func(t *testing.T) {
			a := associate(t, &Server{}, "127.0.0.1:0", addrOf(named))
			a.datagrams("127.0.0.1:0").send(toExample + "intruder was first")
			a.seen.want(t, "dropped source")
			if _, err := own.WriteToUDPAddrPort([]byte(toExample+"client"), a.relay); err != nil {
				t.Fatal(err)
			}
			a.network.want(packet{"client", "example.com:80"})
		})
	}
}

func TestNamedPort(t *testing.T) {
	tests := []struct {
		name, named, owner string
		want               uint16
	}{
		{"nothing named", "0.0.0.0:0", "192.0.2.1", 0},
		{"any ipv4", "0.0.0.0:7", "192.0.2.1", 7},
		{"any ipv6", "[::]:7", "2001:db8::1", 7},
		{"its own", "192.0.2.1:7", "192.0.2.1", 7},
		{"its own with a zone", "[fe80::1]:7", "fe80::1%lo", 7},
		{"behind a NAT", "10.0.0.1:7", "192.0.2.1", 0},
		{"a name", "localhost:7", "127.0.0.1", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			named, err := socksaddr.Parse(tt.named)
			if err != nil {
				t.Fatal(err)
			}
			if got := namedPort(named, netip.MustParseAddr(tt.owner)); got != tt.want {
				t.Errorf("namedPort(%v, %s) = %d, want %d", named, tt.owner, got, tt.want)
			}
		})
	}
}

// TestAssociateEndsWithReset: a control connection that breaks ends the association as one that closes does.
func TestAssociateEndsWithReset(t *testing.T) {
	a := associate(t, &Server{}, "127.0.0.1:0", socksaddr.Addr{})
	a.datagrams("127.0.0.1:0").send(toExample + "question")
	a.network.want(packet{"question", "example.com:80"})
	if err := transport.Abort(a.control.Conn); err != nil {
		t.Fatal(err)
	}
	a.seen.want(t, "closed udp")
	a.wantLog(`msg="flow closed"`, "proto=udp")
	a.wantSocketGone()
}

func TestAssociateBoundsControlData(t *testing.T) {
	a := associate(t, &Server{}, "127.0.0.1:0", socksaddr.Addr{})
	a.control.send("a little is ignored")
	a.datagrams("127.0.0.1:0").send(toExample + "question")
	a.network.want(packet{"question", "example.com:80"})
	// The write may meet the end that it causes.
	_, _ = io.WriteString(a.control.Conn, strings.Repeat("x", maxControlBytes))
	a.seen.want(t, "closed udp")
	a.wantLog("level=INFO", `msg="flow broken"`, errTalkative.Error())
}

// TestAssociateNeedsTCP: what is no TCP connection has no address to bind.
func TestAssociateNeedsTCP(t *testing.T) {
	r := start(t, &Server{Settings: Settings{Packet: newPacketNet(t)}})
	l := newPipeListener()
	r.serve(t.Context(), l)
	c := newWire(t, l.dial())
	c.send(helloOpen + associateAny)
	c.want(acceptOpen + "\x05\x01\x00" + zeroAddr)
	r.wantLog("level=WARN", `msg="flow failed"`, "is no TCP client")
}

func TestAssociateCut(t *testing.T) {
	a := associate(t, &Server{}, "127.0.0.1:0", socksaddr.Addr{})
	a.cut()
	if _, err := a.control.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("control connection reads %v, want a reset", err)
	}
	a.wantLog("level=INFO", `msg="flow broken"`, errClosed.Error())
	a.wantSocketGone()
}

// TestAssociationDeadline: its deadlines are the socket's.
func TestAssociationDeadline(t *testing.T) {
	a, _ := newLoopback(t)
	if err := a.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.ReadFrom(make([]byte, 10)); !isTimeout(err) {
		t.Errorf("ReadFrom past the deadline = %v, want a timeout", err)
	}
	if w, ok := any(a).(transport.WaitReader); ok {
		if err := w.WaitRead(); !isTimeout(err) {
			t.Errorf("WaitRead past the deadline = %v, want a timeout", err)
		}
	}
}

func isTimeout(err error) bool {
	network, ok := errors.AsType[net.Error](err)
	return ok && network.Timeout()
}
