package h1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Dialer opens HTTP/1.1 carriers.
type Dialer struct {
	Net    transport.StreamDialer
	TLS    *tls.Config  // with NextProtos http/1.1
	Header http.Header  // sent with the handshake, on top of its own; Host replaces the URL's
	Logger *slog.Logger // told of handshakes at level debug; nil logs nothing
}

var _ carrier.Dialer = (*Dialer)(nil)

// DialCarrier implements carrier.Dialer.
func (d *Dialer) DialCarrier(ctx context.Context, u *url.URL) (transport.StreamConn, error) {
	socket, err := d.Net.DialStream(ctx, carrier.HostPort(u))
	if err != nil {
		return nil, carrier.DialError(carrier.H1, withCause(ctx, err))
	}
	// A past deadline is what makes the blocked calls below return when ctx ends.
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	c, err := d.open(ctx, socket, u)
	if !stop() && err == nil {
		err = &carrier.Error{Mode: carrier.H1, Stage: carrier.StageHandshake, Err: ctx.Err()}
	}
	if err != nil {
		_ = transport.Abort(socket)
		return nil, becauseOf(ctx, err)
	}
	return c, nil
}

// withCause adds to the failure of a dial why ctx ended it, where it did.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// becauseOf replaces the deadline's error by the reason why it was set.
func becauseOf(ctx context.Context, err error) error {
	e, ok := errors.AsType[*carrier.Error](err)
	if ok && ctx.Err() != nil {
		return &carrier.Error{Mode: e.Mode, Stage: e.Stage, Err: context.Cause(ctx)}
	}
	return err
}

// open runs the handshakes on a fresh socket.
func (d *Dialer) open(ctx context.Context, socket transport.StreamConn, u *url.URL) (*conn, error) {
	c := &conn{socket: socket, stream: socket}
	if u.Scheme == "wss" {
		secure := tls.Client(socket, carrier.WithHost(d.TLS, u.Hostname()))
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, carrier.TLSError(carrier.H1, err)
		}
		carrier.LogTLS(ctx, d.Logger, carrier.H1, secure.ConnectionState())
		c.stream, c.in = secure, secure
	}
	rest, err := upgrade(c.stream, u, d.Header)
	if err != nil {
		return nil, &carrier.Error{Mode: carrier.H1, Stage: carrier.StageHandshake, Err: err}
	}
	if c.in == nil {
		// Frame headers are read in pieces of a few bytes; TLS has a buffer below, a bare socket has none.
		c.in = bufio.NewReaderSize(socket, plainBuffer)
	}
	c.early = rest
	return c, nil
}

// plainBuffer serves the small reads; large ones go past it.
const plainBuffer = 1024

// halfCloser is what TLS and TCP connections have in common beyond net.Conn.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// conn is the stream after the handshake.
type conn struct {
	socket transport.StreamConn // TCP
	stream halfCloser           // TLS, or the socket
	in     io.Reader            // the stream, buffered where it must be
	early  []byte               // came in one read with the response
}

var (
	_ transport.StreamConn = (*conn)(nil)
	_ transport.Aborter    = (*conn)(nil)
)

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	return c.in.Read(p)
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) { return c.stream.Write(p) }

// CloseWrite implements transport.StreamConn: a close_notify, or a FIN.
func (c *conn) CloseWrite() error { return c.stream.CloseWrite() }

// CloseRead implements transport.StreamConn.
func (c *conn) CloseRead() error { return c.socket.CloseRead() }

// Close implements net.Conn.
func (c *conn) Close() error { return c.stream.Close() }

// Abort implements transport.Aborter: a reset, without a close_notify.
func (c *conn) Abort() error { return transport.Abort(c.socket) }

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.socket.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.stream.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.stream.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.stream.SetWriteDeadline(t) }
