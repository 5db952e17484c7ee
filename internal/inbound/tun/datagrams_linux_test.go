//go:build !unit

package tun

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// openSettled is open for tests that send a datagram once: the kernel drops what comes for its IPv6 address
// until it has made the local route, a moment later.
func (n namespace) openSettled(tb testing.TB) *Device {
	tb.Helper()
	d := n.open(tb)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		settled := false
		n.do(tb, func() error {
			routes, err := os.ReadFile("/proc/thread-self/net/ipv6_route")
			settled = strings.Contains(string(routes), "fd000077000000000000000000000001 80 ")
			return err
		})
		if settled {
			return d
		}
		<-tick.C
	}
	tb.Fatal("no local route for the address of the device")
	return nil
}

// dialUDP opens a connected socket in the namespace.
func (n namespace) dialUDP(tb testing.TB, target netip.AddrPort) *net.UDPConn {
	tb.Helper()
	var c *net.UDPConn
	n.do(tb, func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
		return err
	})
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestDatagramsThroughDevice: the kernel's own packets, whose sums are not complete and some of which are in
// fragments, and answers that the kernel accepts.
func TestDatagramsThroughDevice(t *testing.T) {
	n := newNamespace(t)
	up := echoing(t)
	s := &Server{Settings: Settings{Stream: toLoopback{}, Packet: up}}
	serve(t, s, n.openSettled(t))
	for _, target := range []netip.AddrPort{target4, target6} {
		c := n.dialUDP(t, target)
		buf := make([]byte, 65535)
		sizes := []int{0, 1, 1200, 1452, 1472, 1473, 2047, 2049, 4000, maxPayload(target.Addr())}
		for _, size := range sizes {
			want := random(size)
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Read(buf); err != nil || !bytes.Equal(buf[:got], want) {
				t.Errorf("echo of %d bytes from %v = %d bytes, %v", size, target, got, err)
			}
		}
	}
	drops := s.Counters.Snapshot().Drops
	delete(drops, dropProtocol.String()) // the kernel asks for routers
	for reason, count := range drops {
		if count > 0 {
			t.Errorf("%d packets dropped: %s", count, reason)
		}
	}
}

// TestErrorsThroughDevice: the application learns at once.
func TestErrorsThroughDevice(t *testing.T) {
	n := newNamespace(t)
	up := echoing(t)
	s := &Server{Settings: Settings{Stream: toLoopback{}, Packet: up, UDP443: UDP443Block}}
	serve(t, s, n.openSettled(t))
	for _, target := range []netip.AddrPort{target4, target6} {
		refused := n.dialUDP(t, netip.AddrPortFrom(target.Addr(), portQUIC))
		if _, err := refused.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := refused.Read(make([]byte, 9)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("read after a refusal by %v = %v, want %v", target, err, syscall.ECONNREFUSED)
		}
		t.Logf("refused after %v", time.Since(began))
		long := n.dialUDP(t, target)
		if _, err := long.Write(random(5000)); err != nil {
			t.Fatal(err)
		}
		if _, err := long.Read(make([]byte, 9)); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("read after one that is too big for %v = %v, want %v", target, err, syscall.EMSGSIZE)
		}
	}
}

// TestQueriesThroughDevice: a resolver of the host asks one server, and another one answers.
func TestQueriesThroughDevice(t *testing.T) {
	n := newNamespace(t)
	s := &Server{Settings: Settings{Stream: toLoopback{}}}
	s.DNS = resolveFunc(func(_ context.Context, q []byte) ([]byte, error) { return dnsAnswer(t, q, 1), nil })
	serve(t, s, n.openSettled(t))
	for _, server := range []netip.AddrPort{dns4, dns6} {
		c := n.dialUDP(t, server)
		query := dnsQuery(t, 5, "example.com.")
		if _, err := c.Write([]byte(query)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 512)
		if size, err := c.Read(got); err != nil || !bytes.Equal(got[:size], dnsAnswer(t, []byte(query), 1)) {
			t.Errorf("answer from %v = %x, %v; %+v", server, got[:size], err, s.Counters.Snapshot())
		}
	}
}

// TestPingThroughDevice: echo requests are answered while an upstream is usable.
func TestPingThroughDevice(t *testing.T) {
	n := newNamespace(t)
	var mu sync.Mutex
	usable := true
	s := &Server{Settings: Settings{Stream: toLoopback{}, Usable: func(string) bool {
		mu.Lock()
		defer mu.Unlock()
		return usable
	}}}
	serve(t, s, n.openSettled(t))
	for _, kind := range []string{"ip4:icmp", "ip6:ipv6-icmp"} {
		if err := n.ping(t, kind, 5*time.Second); err != nil {
			t.Errorf("ping over %s = %v", kind, err)
		}
	}
	mu.Lock()
	usable = false
	mu.Unlock()
	if err := n.ping(t, "ip4:icmp", 200*time.Millisecond); err == nil {
		t.Error("ping is answered while no upstream is usable")
	}
}

// ping sends one echo request and waits for its reply.
func (n namespace) ping(tb testing.TB, kind string, limit time.Duration) error {
	tb.Helper()
	target, want := target4.Addr(), icmp.Type(ipv4.ICMPTypeEchoReply)
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 7, Seq: 1, Data: random(3000)}}
	if kind == "ip6:ipv6-icmp" {
		target, want, message.Type = target6.Addr(), ipv6.ICMPTypeEchoReply, ipv6.ICMPTypeEchoRequest
	}
	request, err := message.Marshal(nil) // the kernel does ICMPv6's sum
	if err != nil {
		tb.Fatal(err)
	}
	var c *net.IPConn
	n.do(tb, func() (err error) {
		c, err = net.DialIP(kind, nil, &net.IPAddr{IP: target.AsSlice()})
		return err
	})
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		tb.Fatal(err)
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	buf := make([]byte, 65535)
	for range 10 { // other messages may come
		size, _, err := c.ReadFrom(buf) // without the IPv4 header, which Read leaves
		if err != nil {
			return err
		}
		reply, err := icmp.ParseMessage(want.Protocol(), buf[:size])
		if err == nil && reply.Type == want && slices.Equal(buf[8:size], request[8:]) {
			return nil
		}
	}
	return errors.New("no reply among ten messages")
}
