package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

func listen(t *testing.T, u *upstream.Upstream) net.PacketConn {
	t.Helper()
	conn, err := u.ListenPacket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestPacketEcho(t *testing.T) {
	for _, addr := range loopbacks(t) {
		echo, err := outlinetest.StartUDPEcho(addr)
		echo = target(t, echo, err)
		for _, cipher := range ciphers {
			t.Run(cipher+" "+addr, func(t *testing.T) {
				s := startServer(t, outlinetest.Config{Addr: addr, Cipher: cipher})
				conn := listen(t, open(t, s))
				for _, size := range []int{1, 0, 64, 1400, 1500, 4000} {
					payload := bytes.Repeat([]byte{byte(size)}, size)
					if err := exchange(conn, udpAddr(t, echo.Addr()), payload); err != nil {
						t.Errorf("%d bytes: %v", size, err)
					}
				}
			})
		}
	}
}

// One association reaches many targets, and answers come with the addresses of their sources.
func TestPacketManyTargets(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	conn := listen(t, open(t, s))
	for i := range 10 {
		echo, err := outlinetest.StartUDPEcho("")
		echo = target(t, echo, err)
		if err := exchange(conn, udpAddr(t, echo.Addr()), []byte{byte(i)}); err != nil {
			t.Errorf("target %d: %v", i, err)
		}
	}
}

func TestPacketDNS(t *testing.T) {
	names, err := outlinetest.StartDNS("")
	names = target(t, names, err)
	const server = "198.51.100.53:53"
	s := startServer(t, outlinetest.Config{Hosts: map[string]string{server: names.Addr()}})
	conn := listen(t, open(t, s))
	query := dnsmessage.Message{
		Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName("example.com."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}},
	}
	packed, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.WriteTo(packed, udpAddr(t, server)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, from, err := conn.ReadFrom(buf)
	if err != nil || from.String() != server {
		t.Fatalf("answer from %v, %v, want one from %s", from, err, server)
	}
	var answer dnsmessage.Message
	if err := answer.Unpack(buf[:n]); err != nil {
		t.Fatal(err)
	}
	want := &dnsmessage.AResource{A: netip.MustParseAddr(outlinetest.DNSAddr4).As4()}
	got := answer.Answers
	if len(got) != 1 || answer.ID != 7 || *got[0].Body.(*dnsmessage.AResource) != *want {
		t.Errorf("answer = %+v, want %s", answer, outlinetest.DNSAddr4)
	}
}

// A datagram that the server cannot take whole is lost; one that cannot be sent at all is an error. Neither
// ends the association.
func TestPacketTooLong(t *testing.T) {
	echo, err := outlinetest.StartUDPEcho("")
	echo = target(t, echo, err)
	s := startServer(t, outlinetest.Config{})
	conn := listen(t, open(t, s))
	to := udpAddr(t, echo.Addr())
	if err := exchange(conn, to, []byte("before")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.WriteTo(make([]byte, 65536), to); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("WriteTo of 65536 bytes = %v, want %v", err, syscall.EMSGSIZE)
	}
	if _, err := conn.WriteTo(make([]byte, 5000), to); err != nil {
		t.Errorf("WriteTo of 5000 bytes = %v, want nil", err)
	}
	if err := exchange(conn, to, []byte("after")); err != nil {
		t.Error(err)
	}
}

// local is the client's side of an association: datagrams in, answers out.
type local struct {
	net.PacketConn // nil: nothing else is called

	in, out chan packet
	past    chan struct{} // closed when the deadline has passed
	once    sync.Once
}

type packet struct {
	payload string
	addr    net.Addr
}

func newLocal() *local {
	return &local{in: make(chan packet), out: make(chan packet, 100), past: make(chan struct{})}
}

func (l *local) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case d := <-l.in:
		return copy(p, d.payload), d.addr, nil
	case <-l.past:
		return 0, nil, context.DeadlineExceeded
	}
}

func (l *local) WriteTo(p []byte, addr net.Addr) (int, error) {
	l.out <- packet{string(p), addr}
	return len(p), nil
}

// SetDeadline takes every deadline for a past one, which it is.
func (l *local) SetDeadline(time.Time) error {
	l.once.Do(func() { close(l.past) })
	return nil
}

// associate relays for a new client until the test ends.
func associate(t *testing.T, u *upstream.Upstream) *local {
	t.Helper()
	l := newLocal()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		relay.Packets(ctx, l, u, relay.PacketOptions{})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return l
}

// ask sends a datagram through the association, again and again as applications do, until the same comes
// from its target.
func (l *local) ask(t *testing.T, to net.Addr, payload string) {
	t.Helper()
	want := packet{payload, to}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		l.in <- want
		select {
		case got := <-l.out:
			if got.payload != payload || got.addr.String() != to.String() {
				t.Errorf("answer %q from %s, want %q from %s", got.payload, got.addr, payload, to)
			}
			return
		case <-time.After(short):
		}
	}
	t.Errorf("no answer to %q", payload)
}

// The server ends associations that are idle. The client's lives on.
func TestAssociationOutlivesTheServers(t *testing.T) {
	t.Parallel() // it mostly waits
	echo, err := outlinetest.StartUDPEcho("")
	echo = target(t, echo, err)
	s := startServer(t, outlinetest.Config{AssociationTimeout: short})
	l := associate(t, open(t, s))
	for range 3 {
		l.ask(t, udpAddr(t, echo.Addr()), "question")
		err := s.Wait(t.Context(), func(stats outlinetest.Stats) bool { return stats.Open == 0 })
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().Handshakes; n != 3 {
		t.Errorf("%d associations opened, want 3", n)
	}
}

// A server that restarts, or a path that breaks, costs one dial.
func TestAssociationOutlivesAReset(t *testing.T) {
	t.Parallel() // it mostly waits
	echo, err := outlinetest.StartUDPEcho("")
	echo = target(t, echo, err)
	s := startServer(t, outlinetest.Config{})
	l := associate(t, open(t, s))
	l.ask(t, udpAddr(t, echo.Addr()), "before")
	s.CutAll()
	l.ask(t, udpAddr(t, echo.Addr()), "after")
	if n := s.Stats().Handshakes; n != 2 {
		t.Errorf("%d associations opened, want 2", n)
	}
}

// What the server cannot open ends its association each time; the client must not dial for every packet.
func TestAssociationWithAWrongSecret(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	if err := s.SetFault(outlinetest.Fault{Stage: outlinetest.WrongSecret}); err != nil {
		t.Fatal(err)
	}
	l := associate(t, open(t, s))
	for range 50 {
		l.in <- packet{"question", udpAddr(t, "127.0.0.1:1")}
		<-time.After(time.Millisecond)
	}
	if n := s.Stats().Handshakes; n != 1 {
		t.Errorf("%d associations opened for 50 packets at once, want 1", n)
	}
}

// Answers that do not open are dropped and counted, and the others go on.
func TestPacketThatDoesNotOpen(t *testing.T) {
	echo, err := outlinetest.StartUDPEcho("")
	echo = target(t, echo, err)
	s := startServer(t, outlinetest.Config{})
	var bad atomic.Int32
	conn := listen(t, open(t, s, func(c *upstream.Config) { c.OnBadPacket = func(error) { bad.Add(1) } }))
	to := udpAddr(t, echo.Addr())
	if err := exchange(conn, to, []byte("before")); err != nil {
		t.Fatal(err)
	}
	damage := func(message []byte) []byte {
		head := []byte{0x82, 126, byte(len(message) >> 8), byte(len(message))}
		wire := append(head, message...)
		wire[len(wire)-1] ^= 1
		return wire
	}
	if err := s.SetFault(outlinetest.Fault{Framing: damage}); err != nil {
		t.Fatal(err)
	}
	sent := s.Stats().Sent
	if _, err := conn.WriteTo(make([]byte, 100), to); err != nil {
		t.Fatal(err)
	}
	err = s.Wait(t.Context(), func(stats outlinetest.Stats) bool { return stats.Sent > sent })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetFault(outlinetest.Fault{}); err != nil {
		t.Fatal(err)
	}
	if err := exchange(conn, to, []byte("after")); err != nil {
		t.Error(err)
	}
	if n := bad.Load(); n != 1 {
		t.Errorf("OnBadPacket was called %d times, want 1", n)
	}
}

func TestPacketsConcurrently(t *testing.T) {
	const flows, each = 4, 50
	echo, err := outlinetest.StartUDPEcho("")
	echo = target(t, echo, err)
	s := startServer(t, outlinetest.Config{})
	u := open(t, s)
	var all sync.WaitGroup
	defer all.Wait()
	for i := range flows {
		conn, to, payload := listen(t, u), udpAddr(t, echo.Addr()), bytes.Repeat([]byte{byte(i)}, 1000)
		all.Go(func() {
			for range each {
				if err := exchange(conn, to, payload); err != nil {
					t.Errorf("flow %d: %v", i, err)
					return
				}
			}
		})
	}
}
