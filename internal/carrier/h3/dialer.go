package h3

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	// goodFor is how long the address that worked last is tried first. After that IPv6 has its chance again.
	goodFor = 10 * time.Minute
	// tokens are kept to skip the server's check of our address; each serves one connection.
	tokens = 8
)

// Config is what a Dialer is made of.
type Config struct {
	Net     Net
	TLS     *tls.Config // with NextProtos h3
	Header  http.Header // sent with every request; Host replaces the URL's
	Spread  carrier.Spread
	Options Options
	// Patience is that of carrier.Pool.
	Patience time.Duration
}

// Options are the choices of a Dialer. The zero value is usable.
type Options struct {
	Logger *slog.Logger // told of wire events at level debug; nil logs nothing
	// Buffers is shared by the dialers of a program to warn once of small socket buffers; nil is one of its
	// own.
	Buffers *sync.Once
	Windows Windows
}

// Dialer opens carriers on shared HTTP/3 connections with one server.
type Dialer struct {
	Config
	pool  carrier.Pool
	quic  *quic.Config
	log   *slog.Logger
	debug bool

	// connects is set once the server has announced extended CONNECT.
	connects atomic.Bool

	mu        sync.Mutex
	good      netip.Addr // worked last
	goodUntil time.Time
}

var (
	_ carrier.Dialer  = (*Dialer)(nil)
	_ carrier.Session = (*Conn)(nil)
)

// NewDialer returns a dialer for the server of u. The caller closes it.
func NewDialer(u *url.URL, c Config) *Dialer {
	d := &Dialer{Config: c, quic: quicConfig(c.Options.Windows), log: c.Options.Logger}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.debug = d.log.Enabled(context.Background(), slog.LevelDebug)
	if d.Options.Buffers == nil {
		d.Options.Buffers = new(sync.Once)
	}
	d.TLS = carrier.WithHost(c.TLS, u.Hostname()).Clone()
	if d.TLS.ClientSessionCache != nil {
		d.TLS.ClientSessionCache = sessions{d.TLS.ClientSessionCache}
	}
	d.pool.Spread, d.pool.Patience = c.Spread, c.Patience
	d.pool.Dial = func(ctx context.Context) (carrier.Session, error) { return d.connect(ctx, u) }
	// quic-go writes to the standard logger when socket buffers are small; we say it better. Nothing else
	// reads the variable.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	return d
}

// sessions keeps QUIC's sessions apart from those of TLS over TCP in the cache that the carriers of one
// server share: each has things in it that the other cannot use.
type sessions struct{ tls.ClientSessionCache }

// Get returns a copy: quic-go writes to the session that a connection resumes, and several may resume one.
func (s sessions) Get(key string) (*tls.ClientSessionState, bool) {
	found, ok := s.ClientSessionCache.Get("h3 " + key)
	if !ok || found == nil {
		return nil, false
	}
	ticket, session, err := found.ResumptionState()
	if err != nil || session == nil {
		return nil, false
	}
	copied := *session
	own, err := tls.NewResumptionState(ticket, &copied)
	return own, err == nil
}

func (s sessions) Put(key string, state *tls.ClientSessionState) {
	s.ClientSessionCache.Put("h3 "+key, state)
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
	return nil, &carrier.Error{Mode: carrier.H3, Stage: carrier.StageHandshake, Err: err}
}

// Renew is that of carrier.Pool.
func (d *Dialer) Renew() { d.pool.Renew() }

// Close ends the connections with all their streams.
func (d *Dialer) Close() error { return d.pool.Close() }

// connect opens a connection and waits until it takes WebSockets.
func (d *Dialer) connect(ctx context.Context, u *url.URL) (*Conn, error) {
	addrs, err := d.lookup(ctx, u)
	if err != nil {
		return nil, &carrier.Error{Mode: carrier.H3, Stage: carrier.StageResolve, Err: err}
	}
	r := race{addrs: addrs, dial: d.handshake}
	l, err := r.run(ctx)
	if err != nil {
		return nil, err
	}
	d.remember(l.addr.Addr())
	c := newConn(l, d)
	if l.early && d.connects.Load() {
		return c, nil // what the server announced before holds, and its SETTINGS may take another round trip
	}
	if err := c.ready(ctx); err != nil {
		_ = c.Close()
		return nil, &carrier.Error{Mode: carrier.H3, Stage: carrier.StageSettings, Err: err}
	}
	d.connects.Store(true)
	return c, nil
}

// lookup returns the server's addresses in the order to try them.
func (d *Dialer) lookup(ctx context.Context, u *url.URL) ([]netip.AddrPort, error) {
	port := uint64(443)
	if p := u.Port(); p != "" {
		var err error
		if port, err = strconv.ParseUint(p, 10, 16); err != nil {
			return nil, err
		}
	}
	found, err := d.Net.LookupAddrs(ctx, u.Hostname())
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("the server's name has no address")
	}
	d.mu.Lock()
	good := d.good
	if time.Now().After(d.goodUntil) {
		good = netip.Addr{}
	}
	d.mu.Unlock()
	var addrs []netip.AddrPort
	for _, a := range inTurns(found, good) {
		addrs = append(addrs, netip.AddrPortFrom(a, uint16(port)))
	}
	return addrs, nil
}

func (d *Dialer) remember(good netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.good, d.goodUntil = good, time.Now().Add(goodFor)
}
