package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h1"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/socks5"
	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// LoadConfig reads the file with everything checked that its meaning depends on.
func LoadConfig(path string) (*config.Config, error) {
	return config.Load(path, config.Checks{
		URL: func(raw string) error {
			_, err := carrier.ParseTarget(raw)
			return err
		},
		Cipher: func(name string) error {
			_, err := shadowsocks.ParseCipher(name)
			return err
		},
		Prefix: shadowsocks.CheckPrefix,
	})
}

// build makes the server of a configuration. It opens nothing.
func build(c *config.Config, log *slog.Logger) (*socks5.Server, error) {
	sockets := dialer.New(dialer.Options{Mark: c.Mark, Servers: c.DNS.Servers, Logger: log})
	members, err := buildMembers(c, sockets, log)
	if err != nil {
		return nil, err
	}
	picker := balancer.NewOrdered(members, c.Selection.Cooldown, log)
	server := &socks5.Server{
		Stream:       picker,
		UDPAdvertise: c.Listen.UDPAdvertise,
		Limits:       relay.Limits{Idle: c.Relay.IdleTimeout, HalfOpen: c.Relay.HalfCloseTimeout},
		Logger:       log,
	}
	if picker.CarriesPackets() {
		server.Packet = picker
	}
	for _, u := range c.Listen.SOCKS5Users {
		if err := server.Users.Add(u.Username, u.Password.Reveal()); err != nil {
			return nil, err
		}
	}
	return server, nil
}

// buildMembers makes the upstreams. One whose flags this build cannot follow is named in the log and fails
// its dials; if there is no other, the program cannot do its job.
func buildMembers(c *config.Config, sockets *dialer.Dialer, log *slog.Logger) ([]balancer.Member, error) {
	var members []balancer.Member
	usable := 0
	for _, entry := range c.Upstreams {
		b, err := newUpstreamBuilder(entry, sockets)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", entry.Name, err)
		}
		up, err := b.build(c, log)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", entry.Name, err)
		}
		m := balancer.Member{Name: entry.Name}
		if up.CarriesStreams() {
			m.Stream = up
		}
		if up.CarriesPackets() {
			m.Packet = up
		}
		members = append(members, m)
		usable += b.usable
	}
	if usable == 0 {
		return nil, errors.New("no upstream can be used in this build: " +
			"allow HTTP/1.1 by leaving out h2=only, h3=only and connect=only")
	}
	return members, nil
}

// upstreamBuilder makes one upstream.
type upstreamBuilder struct {
	entry   config.Upstream
	sockets *dialer.Dialer
	key     *shadowsocks.Key
	tls     carrier.TLSOptions
	usable  int // endpoints that this build can reach
}

func newUpstreamBuilder(entry config.Upstream, sockets *dialer.Dialer) (*upstreamBuilder, error) {
	cipher, err := shadowsocks.ParseCipher(entry.Cipher)
	if err != nil {
		return nil, err
	}
	key, err := shadowsocks.NewKey(cipher, entry.Secret.Reveal())
	if err != nil {
		return nil, err
	}
	b := &upstreamBuilder{entry: entry, sockets: sockets, key: key}
	b.tls = carrier.TLSOptions{
		RootCAs:    entry.TLS.RootCAs,
		ServerName: entry.TLS.ServerName,
		Sessions:   carrier.NewSessions(),
	}
	for _, pin := range entry.TLS.PinSHA256 {
		b.tls.Pins = append(b.tls.Pins, pin)
	}
	return b, nil
}

func (b *upstreamBuilder) build(c *config.Config, log *slog.Logger) (*upstream.Upstream, error) {
	log = log.With("upstream", b.entry.Name)
	stream, err := b.endpoint(b.entry.TCP, log.With("proto", "tcp"))
	if err != nil {
		return nil, err
	}
	packet, err := b.endpoint(b.entry.UDP, log.With("proto", "udp"))
	if err != nil {
		return nil, err
	}
	options := websocket.Options{}
	if b.entry.HalfClose == config.HalfCloseDefer {
		options.HalfClose = websocket.Defer
	}
	return upstream.New(upstream.Config{
		Name:        b.entry.Name,
		Key:         b.key,
		Prefix:      b.entry.Prefix,
		Stream:      stream,
		Packet:      packet,
		WebSocket:   options,
		DialTimeout: c.DialTimeout,
		OnBadPacket: func(err error) { log.Debug("packet dropped", "proto", "udp", "err", err) },
	}), nil
}

// endpoint returns where raw leads, or nil for an upstream without that URL.
func (b *upstreamBuilder) endpoint(raw config.URL, log *slog.Logger) (*carrier.Endpoint, error) {
	if raw.Reveal() == "" {
		return nil, nil //nolint:nilnil // an absent URL is no endpoint and no error
	}
	target, err := carrier.ParseTarget(raw.Reveal())
	if err != nil {
		return nil, err
	}
	header := b.header(target.Origin)
	e := &carrier.Endpoint{Target: target, Dialers: map[carrier.Mode]carrier.Dialer{
		carrier.H1: &h1.Dialer{Net: b.sockets, TLS: b.tls.Config("http/1.1"), Header: header},
	}}
	mode, err := e.Mode()
	switch {
	case err != nil:
		log.Warn("upstream unusable", "err", err)
	case mode != target.Modes[0]:
		log.Info("carrier not available in this build, using another",
			"wanted", target.Modes[0].String(), "carrier", mode.String())
	}
	if err == nil {
		b.usable++
	}
	return e, nil
}

// header is what goes out with the WebSocket's handshake.
func (b *upstreamBuilder) header(origin string) http.Header {
	header := make(http.Header, len(b.entry.Headers)+1)
	if origin != "" {
		header.Set("Origin", origin)
	}
	for name, value := range b.entry.Headers {
		header.Set(name, value.Reveal())
	}
	return header
}
