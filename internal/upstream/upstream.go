// Package upstream is one Outline server as a dialer: Shadowsocks over WebSocket over a carrier.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
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
	Prefix      []byte            // the start of every salt of a stream
	Stream      *carrier.Endpoint // nil: no TCP
	Packet      *carrier.Endpoint // nil: no UDP
	WebSocket   websocket.Options
	DialTimeout time.Duration   // for opening one carrier; 0 = no limit but ctx
	OnBadPacket func(err error) // see shadowsocks.PacketListener
}

// Upstream is one server.
type Upstream struct {
	name    string
	timeout time.Duration
	stream  *shadowsocks.StreamDialer
	packet  *shadowsocks.PacketListener
}

var (
	_ transport.StreamDialer   = (*Upstream)(nil)
	_ transport.PacketListener = (*Upstream)(nil)
)

// New composes an upstream; it opens nothing.
func New(c Config) *Upstream {
	u := &Upstream{name: c.Name, timeout: c.DialTimeout}
	if c.Stream != nil {
		u.stream = &shadowsocks.StreamDialer{
			Name:     c.Name,
			Endpoint: websocket.StreamEndpoint{Carrier: c.Stream, Options: c.WebSocket},
			Key:      c.Key,
			Prefix:   c.Prefix,
		}
	}
	if c.Packet != nil {
		u.packet = &shadowsocks.PacketListener{
			Endpoint:    websocket.PacketEndpoint{Carrier: c.Packet, Options: c.WebSocket},
			Key:         c.Key,
			OnBadPacket: c.OnBadPacket,
		}
	}
	return u
}

// Name is the configured name.
func (u *Upstream) Name() string { return u.name }

// CarriesStreams reports whether the upstream has a URL for TCP.
func (u *Upstream) CarriesStreams() bool { return u.stream != nil }

// CarriesPackets reports whether the upstream has a URL for UDP.
func (u *Upstream) CarriesPackets() bool { return u.packet != nil }

// DialStream implements transport.StreamDialer. It returns when the server is reached, not the target.
func (u *Upstream) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	if u.stream == nil {
		return nil, u.wrap(ErrNotCarried)
	}
	ctx, cancel := u.bound(ctx)
	defer cancel()
	conn, err := u.stream.DialStream(ctx, addr)
	if err != nil {
		return nil, u.wrap(err)
	}
	return conn, nil
}

// ListenPacket implements transport.PacketListener.
func (u *Upstream) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if u.packet == nil {
		return nil, u.wrap(ErrNotCarried)
	}
	ctx, cancel := u.bound(ctx)
	defer cancel()
	conn, err := u.packet.ListenPacket(ctx)
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
