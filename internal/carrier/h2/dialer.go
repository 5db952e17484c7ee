package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Config is what a Dialer is made of.
type Config struct {
	Net     transport.StreamDialer
	TLS     *tls.Config // with NextProtos h2
	Header  http.Header // sent with every request; Host replaces the URL's
	Spread  carrier.Spread
	Options Options
	// Patience is that of carrier.Pool.
	Patience time.Duration
}

// Dialer opens carriers on shared HTTP/2 connections with one server.
type Dialer struct {
	Config
	pool carrier.Pool
}

var (
	_ carrier.Dialer  = (*Dialer)(nil)
	_ carrier.Session = (*Conn)(nil)
)

// NewDialer returns a dialer for the server of u. The caller closes it.
func NewDialer(u *url.URL, c Config) *Dialer {
	d := &Dialer{Config: c}
	d.pool.Spread, d.pool.Patience = c.Spread, c.Patience
	d.pool.Dial = func(ctx context.Context) (carrier.Session, error) { return d.connect(ctx, u) }
	return d
}

// DialCarrier implements carrier.Dialer.
func (d *Dialer) DialCarrier(ctx context.Context, u *url.URL) (transport.StreamConn, error) {
	conn, err := d.pool.Open(ctx, u, d.Header)
	if err == nil {
		return conn, nil
	}
	if _, ok := errors.AsType[*carrier.Error](err); ok {
		return nil, err
	}
	return nil, &carrier.Error{Mode: carrier.H2, Stage: carrier.StageHandshake, Err: err}
}

// Renew is that of carrier.Pool.
func (d *Dialer) Renew() { d.pool.Renew() }

// Close ends the connections with all their streams.
func (d *Dialer) Close() error { return d.pool.Close() }

// connect opens a connection and waits until it takes WebSockets.
func (d *Dialer) connect(ctx context.Context, u *url.URL) (*Conn, error) {
	socket, err := d.Net.DialStream(ctx, carrier.HostPort(u))
	if err != nil {
		return nil, carrier.DialError(carrier.H2, err)
	}
	secure := tls.Client(socket, carrier.WithHost(d.TLS, u.Hostname()))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = transport.Abort(socket)
		return nil, tlsError(err)
	}
	if secure.ConnectionState().NegotiatedProtocol != "h2" {
		_ = transport.Abort(socket)
		return nil, &carrier.Error{Mode: carrier.H2, Stage: carrier.StageTLS, Err: ErrNoH2}
	}
	carrier.LogTLS(ctx, d.Options.Logger, carrier.H2, secure.ConnectionState())
	limitUnsent(socket)
	c := NewConn(secure, d.Options)
	if err := c.Ready(ctx); err != nil {
		_ = c.Close()
		return nil, &carrier.Error{Mode: carrier.H2, Stage: carrier.StageSettings, Err: err}
	}
	return c, nil
}

// tlsError names a handshake that failed because the server knows none of our protocols. crypto/tls does not
// export the type of a peer's alert, only how it reads.
func tlsError(err error) error {
	const noApplicationProtocol = tls.AlertError(120) // RFC 7301, section 3.2
	remote, ok := errors.AsType[*net.OpError](err)
	if ok && remote.Op == "remote error" && remote.Err.Error() == noApplicationProtocol.Error() {
		err = ErrNoH2
	}
	return carrier.TLSError(carrier.H2, err)
}
