package socks5

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// newLoopback returns an association for 127.0.0.1 and a client connected to it.
func newLoopback(t testing.TB) (*association, *net.UDPConn) {
	t.Helper()
	loopback := netip.MustParseAddr("127.0.0.1")
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAssociation(socket, loopback, 0, unobserved{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	client, err := net.DialUDP("udp4", nil, a.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return a, client
}

func TestAssociationOpen(t *testing.T) {
	tests := []struct {
		name, from, datagram  string
		target, payload, drop string
	}{
		{"domain", "192.0.2.1:7", toExample + "data", "example.com:80", "data", ""},
		{"ipv4", "192.0.2.1:7", fromDNS + "data", "8.8.8.8:53", "data", ""},
		{"mapped source", "[::ffff:192.0.2.1]:7", fromDNS + "data", "8.8.8.8:53", "data", ""},
		{"reserved bytes", "192.0.2.1:7", "\xff\xff\x00" + exampleAddr + "x", "example.com:80", "x", ""},
		{"no payload", "192.0.2.1:7", fromDNS, "8.8.8.8:53", "", ""},
		{"other host", "192.0.2.2:7", fromDNS + "data", "", "", dropSource},
		{"other port", "192.0.2.1:8", fromDNS + "data", "", "", dropSource},
		{"empty", "192.0.2.1:7", "", "", "", dropHeader},
		{"short", "192.0.2.1:7", "\x00\x00", "", "", dropHeader},
		{"no address", "192.0.2.1:7", "\x00\x00\x00", "", "", dropHeader},
		{"address cut", "192.0.2.1:7", fromDNS[:9], "", "", dropHeader},
		{"address type", "192.0.2.1:7", "\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00", "", "", dropHeader},
		{"bad name", "192.0.2.1:7", "\x00\x00\x00\x03\x01 \x00\x50data", "", "", dropHeader},
		{"fragment", "192.0.2.1:7", "\x00\x00\x01" + exampleAddr + "data", "", "", dropFragment},
		{"last fragment", "192.0.2.1:7", "\x00\x00\x82" + exampleAddr + "data", "", "", dropFragment},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := &association{owner: netip.MustParseAddr("192.0.2.1")}
			a.port.Store(7)
			target, payload, drop := a.open([]byte(tt.datagram), netip.MustParseAddrPort(tt.from))
			if drop != tt.drop || string(payload) != tt.payload {
				t.Fatalf("open(%q) = %q, %q, want %q, %q", tt.datagram, payload, drop, tt.payload, tt.drop)
			}
			if drop == "" && target.String() != tt.target {
				t.Errorf("open(%q) = %v, want %s", tt.datagram, target, tt.target)
			}
		})
	}
}

func TestAssociationWriteToNobody(t *testing.T) {
	a, _ := newLoopback(t)
	if _, err := a.WriteTo([]byte("answer"), addrOf("8.8.8.8:53")); !errors.Is(err, errNoClient) {
		t.Errorf("WriteTo before any datagram = %v, want %v", err, errNoClient)
	}
	if _, err := a.WriteTo([]byte("answer"), &net.UDPAddr{}); err == nil {
		t.Error("WriteTo from no source = nil, want an error")
	}
}

// TestAssociationSizes: the largest datagram passes, a larger one is an error and changes nothing.
func TestAssociationSizes(t *testing.T) {
	a, client := newLoopback(t)
	c := newWire(t, client)
	buf := make([]byte, 65535)
	large := strings.Repeat("x", 65507-len(fromDNS))
	c.send(fromDNS + large)
	n, target, err := a.ReadFrom(buf)
	if err != nil || string(buf[:n]) != large || target.String() != "8.8.8.8:53" {
		t.Fatalf("ReadFrom = %d bytes from %v, %v, want %d", n, target, err, len(large))
	}
	source := &net.UDPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 53}
	if n, err := a.WriteTo([]byte(large+"x"), source); err == nil {
		t.Errorf("WriteTo of %d bytes = %d, nil, want an error", len(large)+1, n)
	}
	if n, err := a.WriteTo([]byte(large), source); n != len(large) || err != nil {
		t.Errorf("WriteTo of %d bytes = %d, %v", len(large), n, err)
	}
	c.wantDatagram(fromDNS + large)
}

// TestAssociationCloseUnblocks: both ways to wait end with the socket, and Close may come twice.
func TestAssociationCloseUnblocks(t *testing.T) {
	waits := map[string]func(a *association) error{
		"ReadFrom": func(a *association) error {
			_, _, err := a.ReadFrom(make([]byte, 100))
			return err
		},
	}
	if _, ok := any(&association{}).(transport.WaitReader); ok {
		waits["WaitRead"] = func(a *association) error { return any(a).(transport.WaitReader).WaitRead() }
	}
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			a, _ := newLoopback(t)
			ended := make(chan error)
			go func() { ended <- wait(a) }()
			a.Close()
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s of a closed association = %v, want %v", name, err, net.ErrClosed)
			}
			a.Close()
		})
	}
}

// TestAssociationWaitRead: every datagram that waits is seen, also those that came with the one before.
func TestAssociationWaitRead(t *testing.T) {
	a, client := newLoopback(t)
	waiter, ok := any(a).(transport.WaitReader)
	if !ok {
		t.Skip("no way to wait here")
	}
	c := newWire(t, client)
	buf := make([]byte, 2048)
	for range 3 {
		c.send(fromDNS + "1")
		c.send(fromDNS + "2")
		for _, want := range []string{"1", "2"} {
			if err := waiter.WaitRead(); err != nil {
				t.Fatal(err)
			}
			if n, _, err := a.ReadFrom(buf); err != nil || string(buf[:n]) != want {
				t.Fatalf("ReadFrom = %q, %v, want %q", buf[:n], err, want)
			}
		}
	}
}

// roundTrip carries one datagram each way.
func roundTrip(t testing.TB, a *association, client *net.UDPConn) func() {
	question := []byte(toExample + strings.Repeat("x", 1200))
	buf := make([]byte, 65535)
	answer := addrOf("8.8.8.8:53")
	var source net.Addr = answer
	waiter, _ := any(a).(transport.WaitReader)
	return func() {
		if _, err := client.Write(question); err != nil {
			t.Fatal(err)
		}
		if waiter != nil {
			if err := waiter.WaitRead(); err != nil {
				t.Fatal(err)
			}
		}
		n, _, err := a.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.WriteTo(buf[:n], source); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAssociationAllocatesNothing(t *testing.T) {
	a, client := newLoopback(t)
	once := roundTrip(t, a, client)
	once()
	if allocs := testing.AllocsPerRun(100, once); allocs != 0 {
		t.Errorf("a datagram each way allocates %v times, want 0", allocs)
	}
}

// BenchmarkAssociation is one datagram of 1200 bytes each way, with the client's two system calls.
func BenchmarkAssociation(b *testing.B) {
	a, client := newLoopback(b)
	once := roundTrip(b, a, client)
	b.ReportAllocs()
	b.SetBytes(2 * 1200)
	for b.Loop() {
		once()
	}
}
