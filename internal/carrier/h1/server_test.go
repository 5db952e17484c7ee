package h1

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	plainURL  = "ws://server.example:8080/hidden/path?a=1&b=%2F"
	secureURL = "wss://server.example/hidden/path"
)

// authority signs certificates for servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.cert = &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "authority"},
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	a.cert = a.sign(t, a.cert, &a.key.PublicKey)
	return a
}

func (a *authority) sign(t testing.TB, template *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// server returns the configuration of a server with a certificate for names that ends then.
func (a *authority) server(t testing.TB, notAfter time.Time, names ...string) *tls.Config {
	t.Helper()
	key := newKey(t)
	cert := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2),
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     notAfter,
		DNSNames:     names,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &key.PublicKey)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}},
		NextProtos:   []string{"http/1.1"},
		MinVersion:   tls.VersionTLS12,
	}
}

// good is a server's configuration that clients accept.
func (a *authority) good(t testing.TB) *tls.Config {
	t.Helper()
	return a.server(t, time.Now().Add(time.Hour), "server.example")
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// oneConn is a network that gives out one connection.
type oneConn struct {
	conn  transport.StreamConn
	asked *string // the address, if somebody wants to know
}

func (n oneConn) DialStream(_ context.Context, addr string) (transport.StreamConn, error) {
	if n.asked != nil {
		*n.asked = addr
	}
	return n.conn, nil
}

// noNetwork is one that fails.
type noNetwork struct{ err error }

func (n noNetwork) DialStream(context.Context, string) (transport.StreamConn, error) {
	return nil, n.err
}

// far is a server's end of a connection: TLS, or the socket.
type far struct {
	transport.StreamConn // the socket
	stream               halfCloser
	from                 *bufio.Reader
}

func newFar(socket transport.StreamConn, config *tls.Config) *far {
	f := &far{StreamConn: socket, stream: socket}
	if config != nil {
		f.stream = tls.Server(socket, config)
	}
	f.from = bufio.NewReader(f.stream)
	return f
}

func (f *far) Read(p []byte) (int, error)  { return f.from.Read(p) }
func (f *far) Write(p []byte) (int, error) { return f.stream.Write(p) }
func (f *far) CloseWrite() error           { return f.stream.CloseWrite() }
func (f *far) Close() error                { return f.stream.Close() }
func (f *far) Abort() error                { return transport.Abort(f.StreamConn) }

// head reads a request's head, byte for byte.
func (f *far) head() (string, error) {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := f.from.ReadString('\n')
		if err != nil {
			return "", err
		}
		head.WriteString(line)
	}
	return head.String(), nil
}

// upgrade answers a request with 101 and what else is to come in the same write.
func (f *far) upgrade(behind string) error {
	head, err := f.head()
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, switching(keyOf(head), behind))
	return err
}

func switching(key, behind string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + acceptFor(key) + "\r\n\r\n" + behind
}

// keyOf returns the Sec-WebSocket-Key of a request.
func keyOf(head string) string {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		return ""
	}
	return r.Header.Get("Sec-WebSocket-Key")
}

func parse(t testing.TB, raw string) *url.URL {
	t.Helper()
	target, err := carrier.ParseTarget(raw)
	if err != nil {
		t.Fatal(err)
	}
	return target.URL
}

// dial runs serve at the far end of a dial over TCP.
func dial(t *testing.T, d *Dialer, config *tls.Config, serve func(*far) error) (
	transport.StreamConn, *far, error,
) {
	t.Helper()
	client, server := transporttest.TCPPair(t)
	return dialOver(t, d, client, newFar(server, config), serve)
}

// dialOver runs serve at f, the far end of socket, and dials: a secure URL if the dialer has TLS.
func dialOver(t *testing.T, d *Dialer, socket transport.StreamConn, f *far, serve func(*far) error) (
	transport.StreamConn, *far, error,
) {
	t.Helper()
	raw := plainURL
	if d.TLS != nil {
		raw = secureURL
	}
	d.Net = oneConn{conn: socket}
	served := make(chan error, 1)
	go func() { served <- serve(f) }()
	c, err := d.DialCarrier(t.Context(), parse(t, raw))
	if served := <-served; err == nil && served != nil {
		t.Fatalf("server: %v", served)
	}
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, f, err
}

// wantStage demands a *carrier.Error at that stage whose words have none of the path.
func wantStage(t *testing.T, err error, stage carrier.Stage) {
	t.Helper()
	e, ok := errors.AsType[*carrier.Error](err)
	if !ok || e.Mode != carrier.H1 || e.Stage != stage {
		t.Fatalf("DialCarrier() = %v, want a *carrier.Error of h1 at stage %s", err, stage)
	}
	if strings.Contains(err.Error(), "hidden") {
		t.Errorf("DialCarrier() = %v, which repeats what is secret", err)
	}
}
