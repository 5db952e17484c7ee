package socks5

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// dialFunc is a transport.StreamDialer.
type dialFunc func(ctx context.Context, addr string) (transport.StreamConn, error)

func (f dialFunc) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	return f(ctx, addr)
}

// failWith is a dialer that never succeeds.
func failWith(err error) transport.StreamDialer {
	return dialFunc(func(context.Context, string) (transport.StreamConn, error) { return nil, err })
}

// targets hands the far end of every stream that it opens to the test.
type targets struct {
	t      *testing.T
	opened chan target
}

type target struct {
	*wire
	addr string
}

func newTargets(t *testing.T) *targets { return &targets{t: t, opened: make(chan target, 16)} }

func (d *targets) DialStream(_ context.Context, addr string) (transport.StreamConn, error) {
	near, far := transporttest.TCPPair(d.t)
	d.opened <- target{newWire(d.t, far), addr}
	return near, nil
}

func (d *targets) want(addr string) target {
	d.t.Helper()
	select {
	case got := <-d.opened:
		if got.addr != addr {
			d.t.Fatalf("dialed %q, want %q", got.addr, addr)
		}
		return got
	case <-time.After(patience):
		d.t.Fatalf("nobody dialed %q", addr)
	}
	return target{}
}

// packet is a payload with its target or source.
type packet struct{ payload, addr string }

// packetNet is a transport.PacketListener whose far side is the test.
type packetNet struct {
	t       *testing.T
	sent    chan packet // what clients sent
	answers chan packet // what the sockets receive
}

func newPacketNet(t *testing.T) *packetNet {
	return &packetNet{t: t, sent: make(chan packet, 64), answers: make(chan packet, 64)}
}

func (n *packetNet) ListenPacket(context.Context) (net.PacketConn, error) {
	return &packetSocket{network: n, closed: make(chan struct{})}, nil
}

func (n *packetNet) want(p packet) {
	n.t.Helper()
	select {
	case got := <-n.sent:
		if got != p {
			n.t.Fatalf("relayed %q, want %q", got, p)
		}
	case <-time.After(patience):
		n.t.Fatalf("nothing relayed, want %q", p)
	}
}

type packetSocket struct {
	net.PacketConn // nil; the relay needs no more than what is below

	network *packetNet
	closed  chan struct{} // closed by Close
}

func (s *packetSocket) WriteTo(p []byte, addr net.Addr) (int, error) {
	s.network.sent <- packet{string(p), addr.String()}
	return len(p), nil
}

func (s *packetSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case answer := <-s.network.answers:
		from, err := socksaddr.Parse(answer.addr)
		return copy(p, answer.payload), from, err
	case <-s.closed:
		return 0, nil, net.ErrClosed
	}
}

func (s *packetSocket) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}
