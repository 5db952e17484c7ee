package h3

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// network opens sockets on loopback alone and answers every lookup with its addresses.
type network struct {
	addrs []netip.Addr
	err   error

	mu      sync.Mutex
	sockets []string // networks that were asked for
}

var (
	loopback4 = netip.MustParseAddr("127.0.0.1")
	loopback6 = netip.IPv6Loopback()
)

func (n *network) LookupAddrs(context.Context, string) ([]netip.Addr, error) {
	if n.err != nil {
		return nil, n.err
	}
	if n.addrs == nil {
		return []netip.Addr{loopback4}, nil
	}
	return n.addrs, nil
}

func (n *network) ListenPacket(ctx context.Context, network string) (net.PacketConn, error) {
	n.mu.Lock()
	n.sockets = append(n.sockets, network)
	n.mu.Unlock()
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, network, ":0")
}

func (n *network) opened() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.sockets...)
}

// server is the far end: quic-go's own HTTP/3 server.
type server struct {
	t      testing.TB
	addr   netip.AddrPort
	roots  *x509.CertPool
	config *quic.Config
	tls    *tls.Config
	handle func(w http.ResponseWriter, r *http.Request) // nil answers 200 and sends the stream to opened
	serve  func(c *quic.Conn)                           // nil is HTTP/3

	http      *http3.Server
	transport *quic.Transport
	socket    net.PacketConn
	running   sync.WaitGroup
	opened    chan *farStream // streams in the order of their requests
	requests  chan *http.Request

	mu    sync.Mutex
	conns []*quic.Conn
}

// newServer returns a server that start starts.
func newServer(t testing.TB) *server {
	cert, roots := certificate(t, time.Now().Add(time.Hour))
	return &server{
		t: t, roots: roots,
		config:   &quic.Config{Allow0RTT: true, MaxIncomingStreams: 1000, MaxIdleTimeout: time.Minute},
		tls:      http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}),
		opened:   make(chan *farStream, 1000),
		requests: make(chan *http.Request, 1000),
	}
}

// start listens; the end of the test stops it.
func (s *server) start() *server {
	s.t.Helper()
	if !s.addr.IsValid() {
		s.addr = netip.AddrPortFrom(loopback4, 0)
	}
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(s.addr))
	if err != nil {
		s.t.Fatal(err)
	}
	s.socket = socket
	s.addr = socket.LocalAddr().(*net.UDPAddr).AddrPort()
	s.transport = &quic.Transport{Conn: socket}
	listener, err := s.transport.ListenEarly(s.tls, s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.http = &http3.Server{Handler: http.HandlerFunc(s.answer)}
	if s.serve == nil {
		s.serve = func(c *quic.Conn) { _ = s.http.ServeQUICConn(c) }
	}
	s.running.Go(func() {
		for {
			c, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.running.Go(func() { s.serve(c) })
		}
	})
	s.t.Cleanup(func() {
		_ = listener.Close()
		s.stop()
	})
	return s
}

// stop vanishes without a word.
func (s *server) stop() {
	_ = s.transport.Close()
	_ = s.socket.Close()
	s.running.Wait()
}

// accepted is how many connections there were.
func (s *server) accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	s.requests <- r
	if s.handle != nil {
		s.handle(w, r)
		return
	}
	w.WriteHeader(http.StatusOK)
	stream, err := w.(http3.HTTPStreamer).HTTPStream()
	if err != nil {
		s.t.Error(err)
		return
	}
	far := &farStream{Stream: stream, done: make(chan struct{})}
	s.opened <- far
}

// url is what the client dials.
func (s *server) url() *url.URL {
	return &url.URL{Scheme: "wss", Host: s.addr.String(), Path: "/secret", RawQuery: "a=1"}
}

// client returns a dialer that trusts the server.
func (s *server) client(change ...func(*Config)) *Dialer {
	s.t.Helper()
	c := Config{
		Net: &network{addrs: []netip.Addr{s.addr.Addr()}},
		TLS: &tls.Config{
			RootCAs: s.roots, ServerName: "localhost", NextProtos: []string{"h3"},
			ClientSessionCache: tls.NewLRUClientSessionCache(0),
		},
	}
	for _, f := range change {
		f(&c)
	}
	d := NewDialer(s.url(), c)
	s.t.Cleanup(func() { _ = d.Close() })
	return d
}

// open returns both ends of a new stream.
func (s *server) open(d *Dialer) (*Stream, *farStream) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	a, err := d.DialCarrier(ctx, s.url())
	if err != nil {
		s.t.Fatal(err)
	}
	return a.(*Stream), <-s.opened
}

// farStream is the server's end of a stream, as a StreamConn.
type farStream struct {
	*http3.Stream
	once sync.Once
	done chan struct{}
}

var _ transport.Aborter = (*farStream)(nil)

func (f *farStream) Read(p []byte) (int, error) {
	n, err := f.Stream.Read(p)
	if n > 0 {
		return n, nil
	}
	return n, err
}

func (f *farStream) CloseRead() error     { return nil }
func (f *farStream) CloseWrite() error    { return f.Stream.Close() }
func (f *farStream) LocalAddr() net.Addr  { return &net.UDPAddr{} }
func (f *farStream) RemoteAddr() net.Addr { return &net.UDPAddr{} }

func (f *farStream) Close() error {
	f.once.Do(func() { close(f.done) })
	_ = f.Stream.Close()
	f.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	return nil
}

func (f *farStream) Abort() error {
	f.CancelWrite(quic.StreamErrorCode(http3.ErrCodeInternalError))
	f.CancelRead(quic.StreamErrorCode(http3.ErrCodeInternalError))
	return nil
}

// certificate returns one for localhost with the pool that it verifies against.
func certificate(t testing.TB, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// wantBroken demands that a stream ended with a failure that the caller did not cause.
func wantBroken(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		t.Errorf("%s = %v, want a failure that is neither EOF nor net.ErrClosed", what, err)
	}
}
