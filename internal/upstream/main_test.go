package upstream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h1"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

const (
	// patience bounds what a test waits for. No test that passes waits so long.
	patience = 20 * time.Second
	// short is what tests set for limits that they run into.
	short = 100 * time.Millisecond
	// upName is the name of every upstream here.
	upName = "upstream-7"
)

var ciphers = []string{"chacha20-ietf-poly1305", "aes-256-gcm", "aes-192-gcm", "aes-128-gcm"}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startServer(t *testing.T, c outlinetest.Config) *outlinetest.Server {
	t.Helper()
	s, err := outlinetest.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// target keeps what a Start function of outlinetest returned until the test ends.
func target(t *testing.T, target *outlinetest.Target, err error) *outlinetest.Target {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	return target
}

// closedPort returns an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// loopbacks are the addresses to listen on, with IPv6 where this machine has it.
func loopbacks(t *testing.T) []string {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Logf("IPv6 is left out: %v", err)
		return []string{"127.0.0.1:0"}
	}
	_ = l.Close()
	return []string{"127.0.0.1:0", "[::1]:0"}
}

// edit changes how an upstream is made.
type edit func(c *upstream.Config)

func dialTimeout(d time.Duration) edit { return func(c *upstream.Config) { c.DialTimeout = d } }

// at moves the server to another host and port.
func at(host string) edit {
	return eachEndpoint(func(e *carrier.Endpoint) { e.Target.URL.Host = host })
}

// eachEndpoint changes what carries streams and what carries packets.
func eachEndpoint(change func(*carrier.Endpoint)) edit {
	return func(c *upstream.Config) {
		for _, e := range []transport.StreamEndpoint{c.Stream, c.Packet} {
			change(e.(*carrier.Endpoint))
		}
	}
}

// open makes an upstream of s.
func open(t *testing.T, s *outlinetest.Server, edits ...edit) *upstream.Upstream {
	t.Helper()
	cipher, err := shadowsocks.ParseCipher(s.Cipher())
	if err != nil {
		t.Fatal(err)
	}
	key, err := shadowsocks.NewKey(cipher, s.Secret())
	if err != nil {
		t.Fatal(err)
	}
	options := carrier.TLSOptions{RootCAs: s.CertPool(), Sessions: carrier.NewSessions()}
	endpoint := func(raw string) *carrier.Endpoint {
		target, err := carrier.ParseTarget(raw)
		if err != nil {
			t.Fatal(err)
		}
		return &carrier.Endpoint{Target: target, Dialers: map[carrier.Mode]carrier.Dialer{
			carrier.H1: &h1.Dialer{Net: dialer.New(dialer.Options{}), TLS: options.Config("http/1.1")},
		}}
	}
	c := upstream.Config{
		Name: upName, Key: key, DialTimeout: patience,
		Stream: endpoint(s.StreamURL()), Packet: endpoint(s.PacketURL()),
	}
	for _, e := range edits {
		e(&c)
	}
	return upstream.New(c)
}

// dialTo opens a stream that is aborted at the end of the test.
func dialTo(t *testing.T, u *upstream.Upstream, addr string) transport.StreamConn {
	t.Helper()
	conn, err := u.DialStream(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = transport.Abort(conn) })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// relayTo is dialTo with a relay and a TCP connection in front, as an application sees the upstream.
func relayTo(t *testing.T, u *upstream.Upstream, addr string) transport.StreamConn {
	t.Helper()
	conn, err := u.DialStream(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	app, client := transporttest.TCPPair(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		relay.Streams(context.WithoutCancel(t.Context()), client, conn, relay.Limits{})
	}()
	t.Cleanup(func() {
		_, _ = transport.Abort(app), transport.Abort(conn)
		<-ended
	})
	_ = app.SetDeadline(time.Now().Add(patience))
	return app
}

type dialFunc func(t *testing.T, u *upstream.Upstream, addr string) transport.StreamConn

// ways are the two ways to use a stream: its plain methods, and in place by a relay.
var ways = []struct {
	name string
	dial dialFunc
}{
	{"plain", dialTo},
	{"relayed", relayTo},
}

// upload sends n bytes of the pattern and ends our half.
func upload(conn transport.StreamConn, n int64) error {
	// Hidden, because TCP's ReadFrom and the pattern's missing WriteTo would choose other buffers.
	if _, err := io.Copy(struct{ io.Writer }{conn}, outlinetest.Pattern(n)); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return conn.CloseWrite()
}

// largeSum is what most transfers here must arrive as.
var largeSum = sync.OnceValue(func() string { return outlinetest.PatternSHA256(large) })

func patternSum(n int64) string {
	if n == large {
		return largeSum()
	}
	return outlinetest.PatternSHA256(n)
}

// wantPattern reads to the end and demands n bytes of the pattern.
func wantPattern(t *testing.T, r io.Reader, n int64) {
	t.Helper()
	sum := sha256.New()
	got, err := io.Copy(sum, struct{ io.Reader }{r})
	if err != nil {
		t.Fatalf("read = %d bytes, %v, want %d, nil", got, err, n)
	}
	if got != n || hex.EncodeToString(sum.Sum(nil)) != patternSum(n) {
		t.Errorf("read %d bytes, want the %d of the pattern", got, n)
	}
}

func wantUpload(t *testing.T, target *outlinetest.Target, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := target.Upload(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := (outlinetest.Upload{Size: n, SHA256: patternSum(n)}); got != want {
		t.Errorf("target received %+v, want %+v", got, want)
	}
}

// wantNoSecrets demands that an error names the upstream and none of its secrets.
func wantNoSecrets(t *testing.T, s *outlinetest.Server, err error) {
	t.Helper()
	for _, raw := range []string{s.StreamURL(), s.PacketURL()} {
		u, parseErr := url.Parse(raw)
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		path := strings.Split(u.Path, "/")[1]
		if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, path) {
			t.Errorf("error contains the path %q: %s", path, text)
		}
	}
	if strings.Contains(err.Error(), s.Secret()) {
		t.Errorf("error contains the secret %q: %v", s.Secret(), err)
	}
}

var errAnswer = errors.New("another answer")

// exchange sends one datagram and waits for the same from its target.
func exchange(conn net.PacketConn, to net.Addr, payload []byte) error {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.WriteTo(payload, to); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	n, from, err := conn.ReadFrom(buf)
	if err != nil {
		return err
	}
	if !bytes.Equal(buf[:n], payload) || from.String() != to.String() {
		return fmt.Errorf("%w: %d bytes from %s, want %d from %s", errAnswer, n, from, len(payload), to)
	}
	return nil
}

func udpAddr(t *testing.T, addr string) net.Addr {
	t.Helper()
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return net.UDPAddrFromAddrPort(ap)
}
