//go:build linux && !unit

package tun

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// peer is a host on the far side of a socketpair that stands for a TUN device: a stack of its own, on the
// same kind of endpoint.
type peer struct {
	stack    *stack.Stack
	link     *endpoint
	counters Counters
}

// dropAll is the handler of a door for TCP alone.
type dropAll struct{ counters *Counters }

func (d dropAll) handle([]byte) { d.counters.dropped(dropProtocol) }

// wired returns a device and the host behind it. Nothing of it needs root.
func wired(tb testing.TB, how offload) (*Device, *peer) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	near, far := wire(tb, fds[0]), wire(tb, fds[1])
	d := &Device{port: near, offload: how, name: "pair", mtu: defaultMTU}
	p := new(peer)
	link := &endpoint{port: far, offload: how, mtu: defaultMTU, counters: &p.counters}
	p.link = link
	if p.stack, err = newStack(link); err != nil {
		tb.Fatal(err)
	}
	p.smallBuffers(tb)
	p.addAddresses(tb)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for link.receive(dropAll{&p.counters}) == nil {
		}
	}()
	tb.Cleanup(func() {
		_ = far.close()
		<-done
		p.stack.Destroy()
	})
	return d, p
}

func wire(tb testing.TB, fd int) *port {
	tb.Helper()
	for _, option := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 4<<20); err != nil {
			tb.Fatal(err)
		}
	}
	p, err := newPort(os.NewFile(uintptr(fd), "pair"), true)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.close() })
	return p
}

// smallBuffers keeps what is under way smaller than what the socketpair holds.
func (p *peer) smallBuffers(tb testing.TB) {
	tb.Helper()
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 64 << 10, Max: 64 << 10}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 64 << 10, Max: 64 << 10}
	for _, option := range []tcpip.SettableTransportProtocolOption{&receive, &send} {
		if failure := p.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); failure != nil {
			tb.Fatal(failure)
		}
	}
}

var peerAddresses = map[tcpip.NetworkProtocolNumber]netip.Addr{
	ipv4.ProtocolNumber: netip.MustParseAddr("172.19.0.1"),
	ipv6.ProtocolNumber: netip.MustParseAddr("fd00:77::1"),
}

func (p *peer) addAddresses(tb testing.TB) {
	tb.Helper()
	for protocol, ip := range peerAddresses {
		failure := p.stack.AddProtocolAddress(nicID, tcpip.ProtocolAddress{
			Protocol:          protocol,
			AddressWithPrefix: tcpip.AddrFromSlice(ip.AsSlice()).WithPrefix(),
		}, stack.AddressProperties{})
		if failure != nil {
			tb.Fatal(failure)
		}
	}
}

// attempt is a connection whose SYN is under way.
type attempt struct {
	to        netip.AddrPort
	ep        tcpip.Endpoint
	queue     *waiter.Queue
	entry     waiter.Entry
	connected chan struct{}
}

// connect sends a SYN from the peer.
func (p *peer) connect(to netip.AddrPort) (*attempt, error) {
	protocol := ipv4.ProtocolNumber
	if to.Addr().Is6() {
		protocol = ipv6.ProtocolNumber
	}
	a := &attempt{to: to, queue: new(waiter.Queue)}
	var failure tcpip.Error
	if a.ep, failure = p.stack.NewEndpoint(tcp.ProtocolNumber, protocol, a.queue); failure != nil {
		return nil, stackError(failure)
	}
	a.entry, a.connected = waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	a.queue.EventRegister(&a.entry)
	failure = a.ep.Connect(tcpip.FullAddress{Addr: tcpip.AddrFromSlice(to.Addr().AsSlice()), Port: to.Port()})
	if _, begun := failure.(*tcpip.ErrConnectStarted); !begun {
		return nil, fmt.Errorf("connect: %v", failure)
	}
	return a, nil
}

// wait waits for the connection.
func (a *attempt) wait(ctx context.Context) (*conn, error) {
	defer a.queue.EventUnregister(&a.entry)
	select {
	case <-a.connected:
	case <-ctx.Done():
		a.ep.Close()
		return nil, ctx.Err()
	}
	if failure := a.ep.LastError(); failure != nil {
		a.ep.Close()
		return nil, stackError(failure)
	}
	return newConn(a.ep, a.queue, nil, net.TCPAddrFromAddrPort(a.to)), nil
}

// dial opens a connection from the peer.
func (p *peer) dial(ctx context.Context, to netip.AddrPort) (*conn, error) {
	a, err := p.connect(to)
	if err != nil {
		return nil, err
	}
	return a.wait(ctx)
}

func (p *peer) mustDial(tb testing.TB, to netip.AddrPort) *conn {
	tb.Helper()
	c, err := p.dial(tb.Context(), to)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		tb.Fatal(err)
	}
	return c
}

// offloads are the ways in which a device can work.
var offloads = map[string]offload{"super-segments": offloadTCP, "plain": offloadNone}

// targets are addresses that exist nowhere.
var targets = map[string]netip.AddrPort{
	"IPv4": netip.MustParseAddrPort("203.0.113.7:443"), "IPv6": netip.MustParseAddrPort("[2001:db8::7]:443"),
}

// accepting returns a dialer of connections through a stack, both ends of each as it gives them.
func accepting(tb testing.TB, how offload) func(*testing.T) (served, client transport.StreamConn) {
	tb.Helper()
	d, p := wired(tb, how)
	counters := new(Counters)
	link := &endpoint{port: d.port, offload: how, mtu: defaultMTU, counters: counters}
	netstack, err := newStack(link)
	if err != nil {
		tb.Fatal(err)
	}
	accepted := make(chan transport.StreamConn)
	forwarder := tcp.NewForwarder(netstack, defaultBuffer, 16, func(r *tcp.ForwarderRequest) {
		c, err := handshake{r}.accept(maxWindow)
		if err != nil {
			tb.Error(err)
		}
		accepted <- c
	})
	netstack.SetTransportProtocolHandler(tcp.ProtocolNumber, forwarder.HandlePacket)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for link.receive(dropAll{counters}) == nil {
		}
	}()
	tb.Cleanup(func() {
		_ = d.Close()
		<-done
		netstack.Destroy()
	})
	return func(t *testing.T) (served, client transport.StreamConn) {
		t.Helper()
		dialled := make(chan *conn, 1)
		go func() {
			c, err := p.dial(t.Context(), targets["IPv4"])
			if err != nil {
				t.Error(err)
			}
			dialled <- c
		}()
		return <-accepted, <-dialled
	}
}

func TestConnConformance(t *testing.T) {
	for name, how := range offloads {
		t.Run(name, func(t *testing.T) {
			open := accepting(t, how)
			transporttest.Conformance(t, open)
		})
	}
}
