package h3

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

func TestServerWithoutExtendedConnect(t *testing.T) {
	s := newServer(t)
	s.serve = func(c *quic.Conn) {
		control, err := c.OpenUniStream()
		if err != nil {
			return
		}
		// A control stream with empty SETTINGS (RFC 9114, section 7.2.4).
		_, _ = control.Write([]byte{0, 4, 0})
		<-c.Context().Done()
	}
	s.start()
	_, err := dial(t, s.client(), s.url())
	wantStage(t, err, carrier.StageSettings)
	if !errors.Is(err, ErrNoConnect) {
		t.Errorf("dial = %v, want %v", err, ErrNoConnect)
	}
	if want := "server does not announce extended CONNECT (RFC 9220)"; !strings.Contains(err.Error(), want) {
		t.Errorf("dial = %q, want %q in it", err, want)
	}
}

func TestServerThatEndsBeforeSettings(t *testing.T) {
	s := newServer(t)
	s.serve = func(c *quic.Conn) {
		_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
	}
	s.start()
	_, err := dial(t, s.client(), s.url())
	e, ok := errors.AsType[*carrier.Error](err)
	if !ok || e.Stage != carrier.StageSettings && e.Stage != carrier.StageConnect {
		t.Errorf("dial = %v, want an error before the request", err)
	}
	if errors.Is(err, net.ErrClosed) {
		t.Errorf("dial = %v, which says that we closed it", err)
	}
}

func TestCertificates(t *testing.T) {
	s := newServer(t).start()
	expired := newServer(t)
	cert, roots := certificate(t, time.Now().Add(-time.Hour))
	expired.tls.Certificates, expired.roots = []tls.Certificate{cert}, roots
	expired.start()
	tests := []struct {
		name   string
		server *server
		change func(c *tls.Config)
		is     func(error) bool
		hint   string
	}{
		{"authority", s, func(c *tls.Config) {
			c.RootCAs = x509.NewCertPool()
		}, is[x509.UnknownAuthorityError], "tls.ca_file"},
		{"name", s, func(c *tls.Config) {
			c.ServerName = "other.example"
		}, is[x509.HostnameError], "other.example"},
		{"time", expired, func(*tls.Config) {}, is[x509.CertificateInvalidError], "clock"},
		{"pin", s, func(c *tls.Config) {
			c.VerifyConnection = carrier.TLSOptions{Pins: []carrier.Pin{{}}}.Config().VerifyConnection
		}, func(err error) bool { return errors.Is(err, carrier.ErrPin) }, "pin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.server.client(func(c *Config) { tt.change(c.TLS) })
			_, err := dial(t, d, tt.server.url())
			wantStage(t, err, carrier.StageTLS)
			if !tt.is(err) || !strings.Contains(err.Error(), tt.hint) {
				t.Errorf("dial = %v, want the certificate's error with %q", err, tt.hint)
			}
			if errors.Is(err, net.ErrClosed) {
				t.Errorf("dial = %v, which says that we closed it", err)
			}
		})
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func TestServerWithoutHTTP3(t *testing.T) {
	s := newServer(t)
	s.tls = &tls.Config{Certificates: s.tls.Certificates, NextProtos: []string{"other"}}
	s.start()
	_, err := dial(t, s.client(), s.url())
	wantStage(t, err, carrier.StageTLS)
	if !errors.Is(err, ErrNoH3) {
		t.Errorf("dial = %v, want %v", err, ErrNoH3)
	}
}

func TestLookupFails(t *testing.T) {
	why := &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}
	s := newServer(t).start()
	for name, n := range map[string]*network{"error": {err: why}, "no address": {addrs: []netip.Addr{}}} {
		_, err := dial(t, s.client(func(c *Config) { c.Net = n }), s.url())
		wantStage(t, err, carrier.StageResolve)
		if n.err != nil && !errors.Is(err, why) {
			t.Errorf("%s: dial = %v, want %v", name, err, why)
		}
	}
}

// silentServer is a port that answers nothing.
func silentServer(t *testing.T, addr netip.AddrPort) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Skipf("no socket at %s: %v", addr, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestBlockedUDP(t *testing.T) {
	s := newServer(t)
	s.addr = silentServer(t, netip.AddrPortFrom(loopback4, 0))
	d := s.client()
	d.quic.HandshakeIdleTimeout = 100 * time.Millisecond
	began := time.Now()
	_, err := dial(t, d, s.url())
	wantStage(t, err, carrier.StageConnect)
	if !errors.Is(err, ErrNoAnswer) {
		t.Errorf("dial = %v, want %v", err, ErrNoAnswer)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("dial gave up after %v", took)
	}
	if !strings.Contains(err.Error(), s.addr.String()) {
		t.Errorf("dial = %v, want the address in it", err)
	}
}

func TestBlockedUDPAndAnImpatientFlow(t *testing.T) {
	s := newServer(t)
	s.addr = silentServer(t, netip.AddrPortFrom(loopback4, 0))
	d := s.client()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.DialCarrier(ctx, s.url()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial = %v, want %v", err, context.DeadlineExceeded)
	}
	// The dial itself goes on for the next flow; Close ends it, though the handshake has seconds left.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.DialCarrier(t.Context(), s.url()); err == nil {
		t.Error("dial after Close = nil, want an error")
	}
}

func TestBlockedUDPIsNews(t *testing.T) {
	s := newServer(t)
	s.addr = silentServer(t, netip.AddrPortFrom(loopback4, 0))
	plain := s.client()
	d := NewDialer(s.url(), Config{Net: plain.Net, TLS: plain.TLS, Patience: 20 * time.Millisecond})
	defer d.Close()
	d.quic.HandshakeIdleTimeout = 200 * time.Millisecond
	for _, again := range []bool{false, true} {
		_, err := d.DialCarrier(t.Context(), s.url())
		wantStage(t, err, carrier.StageConnect)
		if !errors.Is(err, ErrNoAnswer) || strings.Contains(err.Error(), "none a moment ago") != again {
			t.Errorf("dial = %v, want %v, and that this is no news: %v", err, ErrNoAnswer, again)
		}
	}
}

// refusing is a network whose sockets cannot be opened.
type refusing struct{ network }

func (*refusing) ListenPacket(context.Context, string) (net.PacketConn, error) {
	return nil, errors.New("apply fwmark 1: operation not permitted")
}

func TestSocketCannotBeOpened(t *testing.T) {
	s := newServer(t).start()
	_, err := dial(t, s.client(func(c *Config) { c.Net = new(refusing) }), s.url())
	wantStage(t, err, carrier.StageConnect)
	if err == nil || !strings.Contains(err.Error(), "fwmark") {
		t.Errorf("dial = %v, want the socket's error", err)
	}
}

func TestBlackholedIPv6(t *testing.T) {
	s := newServer(t).start()
	silentServer(t, netip.AddrPortFrom(loopback6, s.addr.Port()))
	n := &network{addrs: []netip.Addr{loopback6, loopback4}}
	d := s.client(func(c *Config) { c.Net = n })
	for _, want := range []string{"udp6 udp4", "udp6 udp4 udp4"} {
		near, far := s.open(d)
		if got := strings.Join(n.opened(), " "); got != want {
			t.Errorf("sockets = %s, want %s", got, want)
		}
		_ = far.Close()
		_ = near.c.Close() // the next stream needs a new connection
	}
}

func TestIPv6Literal(t *testing.T) {
	s := newServer(t)
	s.addr = netip.AddrPortFrom(loopback6, 0)
	probe, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(s.addr))
	if err != nil {
		t.Skip(err)
	}
	_ = probe.Close()
	s.start()
	near, _ := s.open(s.client())
	if got, want := near.RemoteAddr().String(), s.addr.String(); got != want {
		t.Errorf("RemoteAddr() = %s, want %s", got, want)
	}
	if r := <-s.requests; r.Host != s.addr.String() {
		t.Errorf("host = %q, want %q", r.Host, s.addr)
	}
}

// reopen ends the connection of a stream and opens another.
func reopen(s *server, d *Dialer, near *Stream) *Stream {
	s.t.Helper()
	_ = near.c.Close()
	again, _ := s.open(d)
	return again
}

func TestResumption(t *testing.T) {
	s := newServer(t).start()
	d := s.client()
	near, _ := s.open(d)
	state := near.c.link.conn.ConnectionState()
	if state.TLS.DidResume || near.c.link.early {
		t.Errorf("first: resumed %v, early %v, want neither", state.TLS.DidResume, near.c.link.early)
	}
	again := reopen(s, d, near)
	state = again.c.link.conn.ConnectionState()
	if !state.TLS.DidResume || !again.c.link.early {
		t.Errorf("second: resumed %v, early %v, want both", state.TLS.DidResume, again.c.link.early)
	}
}

// Sessions of TLS over TCP in the same cache must not get in the way.
func TestSessionsAreKeptApart(t *testing.T) {
	cache := tls.NewLRUClientSessionCache(4)
	ours := sessions{cache}
	state, err := tls.NewResumptionState([]byte("ticket"), new(tls.SessionState))
	if err != nil {
		t.Fatal(err)
	}
	ours.Put("localhost", state)
	if _, ok := cache.Get("localhost"); ok {
		t.Error("the session of QUIC is under the key of TLS over TCP")
	}
	if _, ok := ours.Get("localhost"); !ok {
		t.Error("the session of QUIC is not found again")
	}
}

// Connections that resume one session at a time must not share it: quic-go writes to it.
func TestSessionsAreCopied(t *testing.T) {
	ours := sessions{tls.NewLRUClientSessionCache(4)}
	state, err := tls.NewResumptionState([]byte("ticket"), &tls.SessionState{EarlyData: true})
	if err != nil {
		t.Fatal(err)
	}
	ours.Put("localhost", state)
	session := func() *tls.SessionState {
		t.Helper()
		found, ok := ours.Get("localhost")
		if !ok {
			t.Fatal("the session is not found")
		}
		ticket, session, err := found.ResumptionState()
		if err != nil || string(ticket) != "ticket" {
			t.Fatalf("ticket = %q, %v, want the one that was put", ticket, err)
		}
		return session
	}
	session().EarlyData = false
	if !session().EarlyData {
		t.Error("what one connection writes shows in the session of another")
	}
}

// With 0-RTT, the CONNECT does not wait for SETTINGS: what the server announced before holds.
func TestEarlyConnectionDoesNotWaitForSettings(t *testing.T) {
	s := newServer(t)
	came := make(chan struct{})
	s.serve = func(c *quic.Conn) {
		if s.accepted() == 1 {
			_ = s.http.ServeQUICConn(c)
			return
		}
		stream, err := c.AcceptStream(c.Context())
		if err != nil {
			t.Error(err)
			return
		}
		if !c.ConnectionState().Used0RTT {
			t.Error("no early data on the second connection")
		}
		select {
		case <-c.HandshakeComplete():
		default:
			t.Error("a request came as early data")
		}
		if _, err := io.ReadFull(stream, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		close(came)
		<-c.Context().Done()
	}
	s.start()
	d := s.client()
	near, _ := s.open(d)
	_ = near.c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := d.DialCarrier(ctx, s.url())
		result <- err
	}()
	<-came
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("dial = %v, want %v", err, context.Canceled)
	}
}

// A server that was started anew rejects the early data of the old one's session.
func TestRejectedEarlyData(t *testing.T) {
	s := newServer(t).start()
	d := s.client()
	near, _ := s.open(d)
	_ = near.c.Close()
	s.stop()
	next := newServer(t)
	next.addr, next.roots = s.addr, s.roots
	// Ticket keys belong to a tls.Config.
	next.tls = &tls.Config{Certificates: s.tls.Certificates, NextProtos: []string{"h3"}}
	next.start()
	again, far := next.open(d)
	if again.c.link.early {
		t.Error("the early data of another server was accepted")
	}
	if _, err := again.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Read(make([]byte, 1)); err != nil {
		t.Errorf("read on the new server = %v, want nil", err)
	}
}

// lockedBuffer takes the log of several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestDebugLog(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelError} {
		s := newServer(t).start()
		log := new(lockedBuffer)
		d := s.client(func(c *Config) {
			c.Options.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level}))
			c.Header = map[string][]string{"Authorization": {"hidden-header"}}
		})
		near, far := s.open(d)
		_ = far.Close()
		_ = near.Close()
		_ = d.Close()
		for _, want := range []string{
			"h3 connection opened", "h3 connection ended", "h3 server settings",
			"h3 stream opened", "h3 stream closed",
		} {
			if got := strings.Contains(log.String(), want); got != (level == slog.LevelDebug) {
				t.Errorf("log at %v has %q: %v\n%s", level, want, got, log)
			}
		}
		for _, secret := range []string{"/secret", "hidden-header"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("log has the secret %q:\n%s", secret, log)
			}
		}
	}
}
