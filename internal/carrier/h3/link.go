package h3

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Windows are sizes of receive windows, in bytes. Zero are the usual ones: 2, 16 and 64 MiB.
type Windows struct {
	First uint64 // a stream's before anything is known about the path
	Most  uint64 // it grows to; 16 MiB carry 650 Mbit/s over 200 ms
	// Conn is the connection's from the start. QUIC credits a connection for what the applications have read,
	// so that what the slow ones leave lying counts against all: there should be room for 32 streams that
	// nobody reads, or 4 that were fast before.
	Conn uint64
}

// orUsual returns the usual windows in place of none.
func (w Windows) orUsual() Windows {
	if w == (Windows{}) {
		return Windows{First: 2 << 20, Most: 16 << 20, Conn: 64 << 20}
	}
	return w
}

const (
	// handshakeTime is how long nothing may come back before the network counts as one without UDP.
	handshakeTime = 4 * time.Second
	// keepAlive is how long a connection may be silent before it is pinged. It is short because a connection
	// that is dead must be found within 10 s, by silentTicks, and because quic-go knows one period for
	// connections with streams and without.
	keepAlive = 4 * time.Second
	// idleTime is the silence after which QUIC gives a connection up. It is long for the server's sake, which
	// shall wait for us when we change networks; we ourselves give up earlier.
	idleTime = time.Minute
	// maxUniStreams is more than HTTP/3 has uses for (RFC 9114, section 6.2).
	maxUniStreams = 16
)

// quicConfig returns the parameters of our connections.
func quicConfig(w Windows) *quic.Config {
	w = w.orUsual()
	return &quic.Config{
		HandshakeIdleTimeout:           handshakeTime,
		MaxIdleTimeout:                 idleTime,
		KeepAlivePeriod:                keepAlive,
		TokenStore:                     quic.NewLRUTokenStore(1, tokens),
		InitialStreamReceiveWindow:     w.First,
		MaxStreamReceiveWindow:         w.Most,
		InitialConnectionReceiveWindow: w.Conn,
		MaxConnectionReceiveWindow:     w.Conn,
		MaxIncomingStreams:             -1, // a server opens none (RFC 9114, section 6.1)
		MaxIncomingUniStreams:          maxUniStreams,
	}
}

// link is a QUIC connection with the socket below it.
type link struct {
	addr      netip.AddrPort
	socket    *socket
	transport *quic.Transport
	conn      *quic.Conn
	early     bool // the server accepted 0-RTT
}

// handshake opens a connection to one of the server's addresses. A port where nothing listens fails it at
// once, as with TCP, unless the server has answered before.
func (d *Dialer) handshake(ctx context.Context, addr netip.AddrPort) (*link, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := listen(ctx, d.Net, addr.Addr(), func() { cancel(ErrNobody) })
	if err != nil {
		return nil, err
	}
	l := &link{addr: addr, socket: s, transport: &quic.Transport{Conn: s}}
	l.conn, err = l.transport.DialEarly(ctx, net.UDPAddrFromAddrPort(addr), d.TLS, d.quic)
	if err == nil {
		err = l.established(ctx)
	}
	if err != nil {
		l.close()
		return nil, explain(err)
	}
	s.settle(l.conn)
	d.opened(l)
	return l, nil
}

// established waits for the server: with 0-RTT, a connection is there before anybody has answered.
func (l *link) established(ctx context.Context) error {
	// NextConnection makes a connection usable whose early data was rejected, and does nothing for others.
	if _, err := l.conn.NextConnection(ctx); err != nil {
		return err
	}
	l.early = l.conn.ConnectionState().Used0RTT
	return nil
}

// opened tells the log of a connection.
func (d *Dialer) opened(l *link) {
	if command := smallBuffers(l.socket.UDPConn); command != "" {
		d.Options.Buffers.Do(func() {
			d.log.Warn("socket buffers are small, HTTP/3 will be slow; run the command to let them grow",
				"command", command)
		})
	}
	if d.debug {
		s := l.conn.ConnectionState()
		d.log.Debug("h3 connection opened", "addr", l.addr.String(), "version", s.Version.String(),
			"alpn", s.TLS.NegotiatedProtocol, "resumed", s.TLS.DidResume, "early", l.early,
			"segmentation", s.GSO)
	}
}

// close ends the connection and frees the socket.
func (l *link) close() {
	if l.conn != nil {
		_ = l.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	}
	_ = l.transport.Close()
	_ = l.socket.Close()
}
