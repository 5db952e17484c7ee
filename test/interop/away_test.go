//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// away is a client on a host of its own, a network namespace, with two links: over wan it reaches the server,
// and over lan the test reaches the client.
type away struct {
	name   string // of the namespace
	wan    string // our end of the link
	near   netip.Addr
	addr   netip.Addr // of the client on wan
	client Client
	echo   netip.AddrPort // over TCP
	mirror netip.AddrPort // over UDP
}

// newAway makes the host with a number below 100.
func newAway(t *testing.T, number int) *away {
	t.Helper()
	a := &away{
		name: fmt.Sprintf("away-%d-%d", os.Getpid(), number),
		wan:  fmt.Sprintf("wan%d", number),
		near: netip.AddrFrom4([4]byte{10, byte(100 + number), 0, 1}),
		addr: netip.AddrFrom4([4]byte{10, byte(100 + number), 0, 2}),
	}
	ip(t, "netns add %s", a.name)
	t.Cleanup(func() { deleteNamespace(t, a.name) })
	a.inside(t, "link set lo up")
	ip(t, "link add %s type veth peer name wan netns %s", a.wan, a.name)
	ip(t, "address add %s/24 dev %s", a.near, a.wan)
	ip(t, "link set %s up", a.wan)
	a.inside(t, "address add %s/24 dev wan", a.addr)
	a.inside(t, "link set wan up")
	ip(t, "link add lan%d type veth peer name lan netns %s", number, a.name)
	ip(t, "address add 10.%d.1.1/24 dev lan%d", 100+number, number)
	ip(t, "link set lan%d up", number)
	a.inside(t, "address add %s/24 dev lan", a.door().Addr())
	a.inside(t, "link set lan up")
	return a
}

// door is where the client listens.
func (a *away) door() netip.AddrPort {
	b := a.near.As4()
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, b[1], 1, 2}), 1080)
}

// ip runs a command of ip.
func ip(t *testing.T, format string, args ...any) {
	t.Helper()
	MustRun(t, nil, "ip", strings.Fields(fmt.Sprintf(format, args...))...)
}

// inside runs a command of ip on the client's host.
func (a *away) inside(t *testing.T, format string, args ...any) {
	t.Helper()
	ip(t, "-n "+a.name+" "+format, args...)
}

// move gives the client another address.
func (a *away) move(t *testing.T) {
	t.Helper()
	a.inside(t, "address flush dev wan")
	a.addr = a.addr.Next()
	a.inside(t, "address add %s/24 dev wan", a.addr)
}

// waitRunning returns when both ends of the link send. The kernel may take a second for that after one was
// switched on.
func (a *away) waitRunning(t *testing.T) time.Time {
	t.Helper()
	at, err := repeat(t.Context(), func(context.Context) error {
		far := MustRun(t, nil, "ip", "-n", a.name, "-o", "link", "show", "wan")
		near := MustRun(t, nil, "ip", "-o", "link", "show", a.wan)
		if !strings.Contains(string(far), "state UP") || !strings.Contains(string(near), "state UP") {
			return fmt.Errorf("the link: %s%s", far, near)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// start starts a server near us and the client, which looks the server up by its name there.
func (a *away) start(t *testing.T, flags string) {
	t.Helper()
	const name = "server" + TestDomain
	server := StartWholeServer(t, a.near, Ciphers[0], programs.StartCaddy)
	server.Query, server.Name = flags, name
	server.Names = StartZone(t, a.near, Zone{name: {a.near}})
	echo := func(conn *net.TCPConn) {
		// A server whose client is gone without a word would hold the clean-up.
		defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })()
		_, _ = io.Copy(conn, conn)
	}
	a.echo = netip.MustParseAddrPort(StartTCP(t, Loopback[0], echo))
	a.mirror = netip.MustParseAddrPort(StartEcho(t, Loopback[0]))
	dns, _ := StartDNS(t, Loopback[0])
	probe := fmt.Sprintf("probe: {tcp_target: %q, udp_target: %q}", StartWeb(t, Loopback[0]), dns)
	a.client = programs.startAt(t, a.door().String(), server, []string{probe}, "ip", "netns", "exec", a.name)
}

// tcp carries a byte both ways on a new flow.
func (a *away) tcp(ctx context.Context) error {
	conn, err := DialSOCKS(ctx, a.client.SOCKS, a.echo)
	if err != nil {
		return err
	}
	defer conn.Close()
	return exchange(ctx, conn)
}

// exchange carries a byte both ways on a flow.
func exchange(ctx context.Context, conn *net.TCPConn) error {
	until, _ := ctx.Deadline()
	if err := conn.SetDeadline(until); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// udp carries a datagram both ways on an association.
func (a *away) udp(on *Association) error {
	const patience = 50 * time.Millisecond
	text := time.Now().String()
	if err := on.Send(a.mirror, []byte(text)); err != nil {
		return err
	}
	until, buf := time.Now().Add(patience), make([]byte, 1500)
	for {
		got, _, err := on.Receive(buf, until)
		if err != nil || string(got) == text {
			return err
		}
	}
}

// repeat tries until it works, and returns when it did.
func repeat(ctx context.Context, try func(context.Context) error) (time.Time, error) {
	for {
		err := try(ctx)
		if err == nil {
			return time.Now(), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, errors.Join(ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}
