// Package upstream is one Outline server as a dialer: Shadowsocks over WebSocket over a carrier.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// ErrNotCarried says that an upstream has no URL for TCP, or none for UDP.
var ErrNotCarried = errors.New("upstream does not carry this protocol")

// Config is what an upstream is made of.
type Config struct {
	Name        string
	Key         *shadowsocks.Key
	Prefix      []byte                   // the start of every salt of a stream
	Stream      transport.StreamEndpoint // carries WebSockets for TCP; nil: no TCP
	Packet      transport.StreamEndpoint // the same for UDP
	WebSocket   websocket.Options
	Standby     Standby
	DialTimeout time.Duration   // for opening one carrier; 0 = no limit but ctx
	OnBadPacket func(err error) // see shadowsocks.PacketListener
	OnLost      func()          // told that a connection died while it was ready; nil: nobody is
}

// Upstream is one server.
type Upstream struct {
	name    string
	timeout time.Duration
	streams *streams // nil: no TCP
	packets *packets // nil: no UDP
	resting atomic.Bool
}

// streams are the ways to open streams: for flows, with what standby keeps ready, and for probes, without.
type streams struct {
	standby      *standby[*websocket.Stream]
	flow, probed shadowsocks.StreamDialer
}

// packets are the same for packet sockets.
type packets struct {
	standby      *standby[*websocket.Packets]
	flow, probed shadowsocks.PacketListener
}

var (
	_ transport.StreamDialer   = (*Upstream)(nil)
	_ transport.PacketListener = (*Upstream)(nil)
)

// New composes an upstream; it opens nothing. One that is told to keep connections ready must be closed.
func New(c Config) *Upstream {
	u := &Upstream{name: c.Name, timeout: c.DialTimeout}
	if c.Stream != nil {
		u.streams = newStreams(c)
	}
	if c.Packet != nil {
		u.packets = newPackets(c)
	}
	return u
}

func newStreams(c Config) *streams {
	ready := newStandby(c, func(ctx context.Context, o websocket.Options) (*websocket.Stream, error) {
		conn, err := c.Stream.ConnectStream(ctx)
		if err != nil {
			return nil, err
		}
		return websocket.NewStream(conn, o), nil
	})
	dialer := func(e transport.StreamEndpoint) shadowsocks.StreamDialer {
		return shadowsocks.StreamDialer{Name: c.Name, Endpoint: e, Key: c.Key, Prefix: c.Prefix}
	}
	return &streams{
		standby: ready,
		flow:    dialer(streamStandby{ready}),
		probed:  dialer(websocket.StreamEndpoint{Carrier: c.Stream, Options: c.WebSocket}),
	}
}

func newPackets(c Config) *packets {
	ready := newStandby(c, func(ctx context.Context, o websocket.Options) (*websocket.Packets, error) {
		conn, err := c.Packet.ConnectStream(ctx)
		if err != nil {
			return nil, err
		}
		return websocket.NewPackets(conn, o), nil
	})
	listener := func(e transport.PacketEndpoint) shadowsocks.PacketListener {
		return shadowsocks.PacketListener{Endpoint: e, Key: c.Key, OnBadPacket: c.OnBadPacket}
	}
	return &packets{
		standby: ready,
		flow:    listener(packetStandby{ready}),
		probed:  listener(websocket.PacketEndpoint{Carrier: c.Packet, Options: c.WebSocket}),
	}
}

// Name is the configured name.
func (u *Upstream) Name() string { return u.name }

// CarriesStreams reports whether the upstream has a URL for TCP.
func (u *Upstream) CarriesStreams() bool { return u.streams != nil }

// CarriesPackets reports whether the upstream has a URL for UDP.
func (u *Upstream) CarriesPackets() bool { return u.packets != nil }

// DialStream implements transport.StreamDialer. It returns when the server is reached, not the target, and at
// once with a connection that was ready.
func (u *Upstream) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	if u.streams == nil {
		return nil, u.wrap(ErrNotCarried)
	}
	return u.dialStream(ctx, &u.streams.flow, addr)
}

func (u *Upstream) dialStream(
	ctx context.Context, d *shadowsocks.StreamDialer, addr string,
) (transport.StreamConn, error) {
	if u.resting.Load() {
		return nil, u.wrap(transport.ErrNoNetwork)
	}
	ctx, cancel := u.bound(ctx)
	defer cancel()
	conn, err := d.DialStream(ctx, addr)
	if err != nil {
		return nil, u.wrap(err)
	}
	return conn, nil
}

// ListenPacket implements transport.PacketListener, at once with a connection that was ready.
func (u *Upstream) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if u.packets == nil {
		return nil, u.wrap(ErrNotCarried)
	}
	return u.listenPacket(ctx, &u.packets.flow)
}

func (u *Upstream) listenPacket(ctx context.Context, l *shadowsocks.PacketListener) (net.PacketConn, error) {
	if u.resting.Load() {
		return nil, u.wrap(transport.ErrNoNetwork)
	}
	ctx, cancel := u.bound(ctx)
	defer cancel()
	conn, err := l.ListenPacket(ctx)
	if err != nil {
		return nil, u.wrap(err)
	}
	return conn, nil
}

func (u *Upstream) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if u.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, u.timeout,
		fmt.Errorf("nothing within %s: %w", u.timeout, context.DeadlineExceeded))
}

func (u *Upstream) wrap(err error) error { return fmt.Errorf("upstream %s: %w", u.name, err) }
