package app

import (
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h1"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h2"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h3"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// upstreamFactory makes the unit of one entry of a configuration.
type upstreamFactory struct {
	config *config.Config
	common common
	parts  parts
	log    *slog.Logger

	hosts   []string    // of the URLs
	shared  []renewer   // connections that flows share
	closers []io.Closer // what carriers keep open between flows
}

// server is what the endpoints of one upstream share.
type server struct {
	tls     carrier.TLSOptions
	headers map[string]config.Secret
	memory  *carrier.Memory // of its carriers
}

// build makes a unit without paths.
func (f *upstreamFactory) build(entry config.Upstream) (*unit, error) {
	key, err := newKey(entry)
	if err != nil {
		return nil, err
	}
	u := &unit{entry: entry, tally: f.parts.tallies.of(entry.Name)}
	s := newServer(entry, u.tally)
	u.memory = s.memory
	if u.streamBy, err = f.endpoint(s, entry.TCP, balancer.TCP); err != nil {
		return nil, err
	}
	if u.packetBy, err = f.endpoint(s, entry.UDP, balancer.UDP); err != nil {
		return nil, err
	}
	options := websocket.Options{Logger: f.log, Traffic: &u.tally.websocket}
	if entry.HalfClose == config.HalfCloseDefer {
		options.HalfClose = websocket.Defer
	}
	u.up = upstream.New(upstream.Config{
		Name:        entry.Name,
		Key:         key,
		Prefix:      entry.Prefix,
		Stream:      f.timed(u.streamBy, entry.Name, balancer.TCP),
		Packet:      f.timed(u.packetBy, entry.Name, balancer.UDP),
		WebSocket:   options,
		Standby:     f.common.standby,
		DialTimeout: f.config.DialTimeout,
		OnBadPacket: func(err error) { f.log.Debug("packet dropped", "proto", balancer.UDP, "err", err) },
		OnLost:      func() { f.parts.soon(entry.Name) },
	})
	u.hosts, u.shared = f.hosts, f.shared
	u.close = append([]io.Closer{u.up}, f.closers...)
	return u, nil
}

// timed has metrics told how long an endpoint takes; nil stays nil.
func (f *upstreamFactory) timed(e *carrier.Endpoint, name, proto string) transport.StreamEndpoint {
	if e == nil {
		return nil
	}
	f.parts.metrics.Expect(name, proto)
	return timed{e, f.parts.metrics.Dials(name, proto)}
}

func newKey(entry config.Upstream) (*shadowsocks.Key, error) {
	cipher, err := shadowsocks.ParseCipher(entry.Cipher)
	if err != nil {
		return nil, err
	}
	return shadowsocks.NewKey(cipher, entry.Secret.Reveal())
}

func newServer(entry config.Upstream, t *tally) *server {
	s := &server{
		headers: entry.Headers,
		memory:  new(carrier.Memory),
		tls: carrier.TLSOptions{
			RootCAs:    entry.TLS.RootCAs,
			ServerName: entry.TLS.ServerName,
			Sessions:   carrier.NewSessions(),
			Verified:   func(cert *x509.Certificate) { t.certificateExpires.Store(cert.NotAfter.Unix()) },
		},
	}
	for _, pin := range entry.TLS.PinSHA256 {
		s.tls.Pins = append(s.tls.Pins, pin)
	}
	return s
}

// endpoint returns where raw leads, or nil for an upstream without that URL. TCP and UDP have endpoints, and
// so connections, of their own: a bulk download does not hold up a datagram.
func (f *upstreamFactory) endpoint(s *server, raw config.URL, proto string) (*carrier.Endpoint, error) {
	if raw.IsZero() {
		return nil, nil //nolint:nilnil // an absent URL is no endpoint and no error
	}
	target, err := carrier.ParseTarget(raw.Reveal())
	if err != nil {
		return nil, err
	}
	log := f.log.With("proto", proto)
	e := &carrier.Endpoint{
		Target: target, Dialers: f.dialers(s, target, log), Memory: s.memory, Logger: log,
	}
	f.hosts = append(f.hosts, target.URL.Hostname())
	f.closers = append(f.closers, e)
	return e, nil
}

// dialers makes one dialer for each mode that the target allows and this build has.
func (f *upstreamFactory) dialers(
	s *server, target carrier.Target, log *slog.Logger,
) map[carrier.Mode]carrier.Dialer {
	dialers := make(map[carrier.Mode]carrier.Dialer)
	header := s.header(target.Origin)
	for _, mode := range target.Modes {
		switch mode {
		case carrier.H1:
			dialers[mode] = &h1.Dialer{
				Net: f.parts.sockets, TLS: s.tls.Config("http/1.1"), Header: header, Logger: log,
			}
		case carrier.H2:
			d := h2.NewDialer(target.URL, h2.Config{
				Net:      f.parts.sockets,
				TLS:      s.tls.Config("h2"),
				Header:   header,
				Spread:   f.spread(),
				Options:  h2.Options{Budget: f.parts.budget, Logger: log},
				Patience: target.Patience(),
			})
			f.shared, f.closers = append(f.shared, d), append(f.closers, d)
			dialers[mode] = d
		case carrier.H3:
			d := h3.NewDialer(target.URL, h3.Config{
				Net:      f.parts.sockets,
				TLS:      s.tls.Config("h3"),
				Header:   header,
				Spread:   f.spread(),
				Options:  h3.Options{Logger: log, Buffers: f.parts.buffers, Windows: f.common.windows.h3},
				Patience: target.Patience(),
			})
			f.shared, f.closers = append(f.shared, d), append(f.closers, d)
			dialers[mode] = d
		}
	}
	return dialers
}

func (f *upstreamFactory) spread() carrier.Spread {
	return carrier.Spread{Streams: f.config.Pool.Streams, Conns: f.config.Pool.Connections}
}

// header is what goes out with the handshake of a WebSocket.
func (s *server) header(origin string) http.Header {
	header := make(http.Header, len(s.headers)+1)
	if origin != "" {
		header.Set("Origin", origin)
	}
	for name, value := range s.headers {
		header.Set(name, value.Reveal())
	}
	return header
}
