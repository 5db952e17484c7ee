package dialer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen returns a TCP listener on a loopback address and its port; a machine without that family skips the
// test.
func listen(t *testing.T, ip string) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil && netip.MustParseAddr(ip).Is6() {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// deadPort returns a port of loopback that refuses, in both families.
func deadPort(t *testing.T) string {
	t.Helper()
	l, port := listen(t, "127.0.0.1")
	_ = l.Close()
	return port
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wantReached dials addr and checks which listener it reaches.
func wantReached(t *testing.T, d *Dialer, addr string, l net.Listener) *net.TCPConn {
	t.Helper()
	conn, err := d.DialStream(within(t), addr)
	if err != nil {
		t.Fatalf("DialStream(%s) = %v, want a connection", addr, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if got, want := conn.RemoteAddr().String(), l.Addr().String(); got != want {
		t.Errorf("DialStream(%s) reached %s, want %s", addr, got, want)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("DialStream(%s) = %T, want a *net.TCPConn", addr, conn)
	}
	return tcp
}

func TestDialLiteral(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			l, port := listen(t, ip)
			wantReached(t, New(Options{}), net.JoinHostPort(ip, port), l)
		})
	}
}

func TestDialedStreamConforms(t *testing.T) {
	d := New(Options{})
	transporttest.Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
		l, port := listen(t, "127.0.0.1")
		a = wantReached(t, d, "127.0.0.1:"+port, l)
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return a, far.(*net.TCPConn)
	})
}

func TestDialName(t *testing.T) {
	tests := []struct{ name, addrs, listen string }{
		{"ipv4 alone", "127.0.0.1", "127.0.0.1"},
		{"ipv6 alone", "::1", "::1"},
		{"ipv6 refuses", "127.0.0.1 ::1", "127.0.0.1"},
		{"ipv4 refuses", "127.0.0.1 ::1", "::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, port := listen(t, tt.listen)
			dns := startDNS(t, answers, map[string]string{"www.example.test.": tt.addrs})
			d := New(Options{Servers: []netip.AddrPort{dns.addr}})
			wantReached(t, d, "WWW.example.test.:"+port, l)
			wantReached(t, d, "www.example.test.:"+port, l)
			// The answer of the family that lost may have come too late to be remembered.
			if asked := dns.questions(); asked > 3 {
				t.Errorf("asked the server %d times for two streams, want no more than 3", asked)
			}
		})
	}
}

func TestDialErrors(t *testing.T) {
	dead := deadPort(t)
	hosts := map[string]string{"www.example.test.": "127.0.0.1"}
	tests := []struct {
		name string
		does behaviour
		addr string
		want string
		is   error
	}{
		{
			"refused", answers, "127.0.0.1:" + dead,
			"connect 127.0.0.1:" + dead + ": connection refused",
			syscall.ECONNREFUSED,
		},
		{
			"refused by name", answers, "www.example.test:" + dead,
			"connect www.example.test:" + dead + ": 127.0.0.1:" + dead + ": connection refused",
			syscall.ECONNREFUSED,
		},
		{"malformed", answers, "www", `address "www": no port, want host:port`, errNoPort},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dns := startDNS(t, tt.does, hosts)
			d := New(Options{Servers: []netip.AddrPort{dns.addr}})
			conn, err := d.DialStream(within(t), tt.addr)
			if conn != nil || err == nil || err.Error() != tt.want || !errors.Is(err, tt.is) {
				t.Errorf("DialStream(%s) = %v, %v, want %s", tt.addr, conn, err, tt.want)
			}
		})
	}
}

func TestDialUnknownName(t *testing.T) {
	tests := []struct {
		name     string
		does     behaviour
		notFound bool
	}{
		{"no such host", answers, true},
		{"server fails", fails, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dns := startDNS(t, tt.does, nil)
			d := New(Options{Servers: []netip.AddrPort{dns.addr}})
			_, err := d.DialStream(within(t), "nobody.example.test.:1")
			got, ok := errors.AsType[*net.DNSError](err)
			if !ok || got.IsNotFound != tt.notFound || got.IsTimeout {
				t.Errorf("DialStream = %v, want a DNS error, not found %v", err, tt.notFound)
			}
			_, lookupErr := d.LookupAddrs(within(t), "nobody.example.test.")
			if got, ok := errors.AsType[*net.DNSError](lookupErr); !ok || got.IsNotFound != tt.notFound {
				t.Errorf("LookupAddrs = %v, want a DNS error, not found %v", lookupErr, tt.notFound)
			}
		})
	}
}

// A server that says nothing costs what the caller is ready to wait, and nothing is left behind.
func TestDialEndsWithItsContext(t *testing.T) {
	dns := startDNS(t, silent, nil)
	d := New(Options{Servers: []netip.AddrPort{dns.addr}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
	defer cancel()
	_, err := d.DialStream(ctx, "www.example.test:1")
	dnsErr, ok := errors.AsType[*net.DNSError](err)
	if !ok || !dnsErr.IsTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("DialStream = %v, want a DNS timeout that is %v", err, context.DeadlineExceeded)
	}
}

func TestLookupAddrs(t *testing.T) {
	dns := startDNS(t, truncates, map[string]string{"www.example.test.": "192.0.2.1 192.0.2.2 2001:db8::1"})
	d := New(Options{Servers: []netip.AddrPort{dns.addr}})
	got, err := d.LookupAddrs(within(t), "www.example.test")
	slices.SortFunc(got, netip.Addr.Compare)
	if want := ips("192.0.2.1 192.0.2.2 2001:db8::1"); !slices.Equal(got, want) || err != nil {
		t.Errorf("LookupAddrs(name) = %v, %v, want %v", got, err, want)
	}
	if got, err := d.LookupAddrs(within(t), "::1"); !slices.Equal(got, ips("::1")) || err != nil {
		t.Errorf("LookupAddrs(::1) = %v, %v, want itself", got, err)
	}
}

func TestSystemResolverKnowsLocalhost(t *testing.T) {
	got, err := New(Options{}).LookupAddrs(within(t), "localhost")
	if err != nil {
		t.Skipf("this machine has no localhost: %v", err)
	}
	if !got[0].IsLoopback() {
		t.Errorf("LookupAddrs(localhost) = %v, %v, want a loopback address", got, err)
	}
}

func TestNextServerWhenOneFails(t *testing.T) {
	bad := startDNS(t, fails, nil)
	hosts := map[string]string{"a.example.test.": "192.0.2.1", "b.example.test.": "192.0.2.2"}
	good := startDNS(t, answers, hosts)
	d := New(Options{Servers: []netip.AddrPort{bad.addr, good.addr}})
	for _, host := range []string{"a.example.test.", "b.example.test."} {
		if got, err := d.LookupAddrs(within(t), host); len(got) != 1 || err != nil {
			t.Errorf("LookupAddrs(%s) = %v, %v, want one address", host, got, err)
		}
	}
	if asked := bad.questions(); asked > 2 {
		t.Errorf("asked the failing server %d times, want no more than the first two", asked)
	}
}

// At boot there may be no servers yet, and later others.
func TestServersThatComeLater(t *testing.T) {
	first, second := startDNS(t, answers, map[string]string{"a.example.test.": "192.0.2.1"}),
		startDNS(t, answers, map[string]string{"b.example.test.": "192.0.2.2"})
	var now []netip.AddrPort
	d := New(Options{Outside: func() []netip.AddrPort { return now }})
	servers := map[string]netip.AddrPort{"a.example.test.": first.addr, "b.example.test.": second.addr}
	for host, server := range servers {
		now = []netip.AddrPort{server}
		if got, err := d.LookupAddrs(within(t), host); len(got) != 1 || err != nil {
			t.Errorf("LookupAddrs(%s) = %v, %v, want one address", host, got, err)
		}
	}
}

// The address that worked goes first next time, and IPv6 has its chance again later.
func TestGoodAddressIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{hosts: map[string]host{"1.1.1.1": {}}, began: time.Now()}
		dns := &names{}
		dns.set(found{addrs: "::1"}, found{addrs: "1.1.1.1"})
		d := New(Options{})
		d.connect, d.resolver.query = n.connect, dns.query
		dial := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			conn, err := d.DialStream(t.Context(), "example.com:443")
			if err != nil || time.Since(began) != want {
				t.Errorf("DialStream = %v, %v after %v, want it after %v", conn, err, time.Since(began), want)
			}
		}
		dial(connectDelay)
		dial(0)
		addrs, err := d.LookupAddrs(t.Context(), "example.com")
		if !slices.Equal(addrs, ips("1.1.1.1 ::1")) {
			t.Errorf("LookupAddrs = %v, %v, want the good one first", addrs, err)
		}
		time.Sleep(goodFor)
		dial(connectDelay)
	})
}

func TestListenPacket(t *testing.T) {
	for network, ip := range map[string]string{"udp4": "127.0.0.1", "udp6": "::1"} {
		t.Run(network, func(t *testing.T) {
			listen(t, ip) // skips without IPv6
			d := New(Options{})
			a, err := d.ListenPacket(within(t), network)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			b, err := net.ListenPacket(network, net.JoinHostPort(ip, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			_ = b.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := a.WriteTo([]byte("x"), b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 10)
			if n, _, err := b.ReadFrom(buf); err != nil || string(buf[:n]) != "x" {
				t.Errorf("received %q, %v, want \"x\"", buf[:n], err)
			}
		})
	}
	conn, err := New(Options{}).ListenPacket(within(t), "udp")
	if _, ok := errors.AsType[net.UnknownNetworkError](err); !ok {
		t.Errorf("ListenPacket(udp) = %v, %v, want an unknown network", conn, err)
	}
}
