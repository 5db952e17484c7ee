package outlinetest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	defaultDrain       = 59 * time.Second // Outline's tcpReadTimeout
	defaultAssociation = 5 * time.Minute  // RFC 4787, section 4.3
	openingTimeout     = 10 * time.Second // for TLS and the HTTP request together
	dialTimeout        = 30 * time.Second
	portAttempts       = 16
	acceptPause        = 10 * time.Millisecond // after a failed accept, such as one without a file descriptor
)

// Config describes a server. The zero value is a server on a free port of 127.0.0.1 with its own secret
// paths.
type Config struct {
	Addr       string // "127.0.0.1:0" if empty; "[::1]:0" for IPv6
	Cipher     string // "chacha20-ietf-poly1305" if empty
	Secret     string // "secret" if empty
	StreamPath string // of websocket-stream, with the leading slash; random if empty
	PacketPath string // of websocket-packet, with the leading slash; random if empty

	Protocols Protocols // HTTP1 if none; those that Outline's server needs a front for are HTTP2 and HTTP3

	Plain     bool // ws without TLS; HTTP1 alone
	Cert      Cert // how the certificate deviates from a good one
	AnyOrigin bool // also an Origin header of another host, which Outline's server answers with 403

	DrainTimeout       time.Duration // from the opening to the end of a stream that does not open; 59 s if 0
	AssociationTimeout time.Duration // silence that ends an association; 5 min if 0

	// Hosts gives targets another place: "example.test:80" or "192.0.2.1:53" to the address of one on
	// loopback.
	Hosts map[string]string
	// AnyTarget lets targets be anywhere. Without it, they are on loopback or in Hosts.
	AnyTarget bool
	// Dial opens the streams to targets, after Hosts was applied; AnyTarget is then its business.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Server is a running server. Its methods may be called concurrently.
type Server struct {
	config Config
	addr   string // the listener's, kept while the port is closed by a fault
	key    key
	salts  saltCache
	chain  *chain // nil without TLS
	tls    *tls.Config
	quic   *h3Port // nil without HTTP/3
	fault  faultBox
	stats  statsBox

	//nolint:containedctx // the server's life: everything that waits watches it, and Close ends it
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // accept loops and connections

	mu       sync.Mutex
	closed   bool
	listener net.Listener // nil while a fault keeps the port closed
	conns    map[*conn]struct{}
	quics    map[*quic.Conn]struct{}
	sockets  map[*socket]struct{}
	targets  map[net.Conn]struct{}
}

// Start opens a server. The caller closes it.
func Start(c Config) (*Server, error) {
	c = c.withDefaults()
	key, err := newKey(c.Cipher, c.Secret)
	if err != nil {
		return nil, err
	}
	if c.Plain && c.Protocols != HTTP1 {
		return nil, errNeedTLS
	}
	s := &Server{
		config:  c,
		addr:    c.Addr,
		key:     key,
		conns:   make(map[*conn]struct{}),
		quics:   make(map[*quic.Conn]struct{}),
		sockets: make(map[*socket]struct{}),
		targets: make(map[net.Conn]struct{}),
	}
	if !c.Plain {
		if s.chain, err = newChain(c.Cert); err != nil {
			return nil, fmt.Errorf("make certificate: %w", err)
		}
		s.tls = s.chain.config(c.Protocols, &s.fault)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.openPorts(); err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

// openPorts opens the TCP port and the UDP port of the same number. Where the number is free to choose, one
// may be taken on the other side, and the next is tried.
func (s *Server) openPorts() error {
	for attempt := 1; ; attempt++ {
		err := s.open()
		if err != nil || !s.config.Protocols.has(HTTP3) {
			return err
		}
		if err = s.openQUIC(); err == nil {
			return nil
		}
		s.shut()
		s.running.Wait()
		if attempt == portAttempts || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		s.addr = s.config.Addr
	}
}

func (c Config) withDefaults() Config {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.Addr, "127.0.0.1:0")
	set(&c.Cipher, "chacha20-ietf-poly1305")
	set(&c.Secret, "secret")
	set(&c.StreamPath, randomPath("/tcp"))
	set(&c.PacketPath, randomPath("/udp"))
	if c.Protocols == 0 {
		c.Protocols = HTTP1
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = defaultDrain
	}
	if c.AssociationTimeout == 0 {
		c.AssociationTimeout = defaultAssociation
	}
	return c
}

func randomPath(suffix string) string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return "/" + hex.EncodeToString(b[:]) + suffix
}

// open starts to listen, unless it does already.
func (s *Server) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if s.listener != nil || !s.config.Protocols.has(HTTP1|HTTP2) {
		return nil
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.listener, s.addr = l, l.Addr().String()
	s.running.Go(func() { s.accept(l) })
	return nil
}

// shut closes the port and leaves the connections.
func (s *Server) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
}

func (s *Server) accept(l net.Listener) {
	for {
		tcp, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.pause(acceptPause, nil)
			continue
		}
		s.running.Go(func() { s.serve(tcp.(*net.TCPConn)) })
	}
}

// pause waits for d, the end of the server or gone, whichever is first.
func (s *Server) pause(d time.Duration, gone <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-gone:
	case <-s.ctx.Done():
	}
}

// Close cuts all connections and waits for all goroutines.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	targets := slices.Collect(maps.Keys(s.targets))
	s.mu.Unlock()
	s.cancel()
	s.shut()
	for _, t := range targets {
		_ = t.Close()
	}
	s.CutAll()
	if s.quic != nil {
		s.quic.close()
	}
	s.running.Wait()
	return nil
}

// CutAll resets every connection, as a crashed server or a broken path does. One of QUIC is closed with
// H3_INTERNAL_ERROR.
func (s *Server) CutAll() {
	conns, quics := s.connections()
	for _, c := range conns {
		c.reset()
	}
	for _, c := range quics {
		resetQUIC(c)
	}
}

// FreezeAll stops every connection that is open now, for good and without a word; new ones work. With QUIC, a
// client's new connection must come from another port than its old one.
func (s *Server) FreezeAll() {
	conns, quics := s.connections()
	for _, c := range conns {
		c.frozen.Store(true)
	}
	for _, c := range quics {
		s.quic.socket.freeze(c.RemoteAddr())
	}
}

func (s *Server) connections() ([]*conn, []*quic.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns)), slices.Collect(maps.Keys(s.quics))
}

// CloseAll sends a Close frame with code on every WebSocket and leaves the rest to the clients.
func (s *Server) CloseAll(code int) {
	for _, c := range s.live() {
		c.writeClose(code)
	}
}

// PingAll sends a ping with data, at most 125 bytes, on every WebSocket.
func (s *Server) PingAll(data string) {
	for _, c := range s.live() {
		c.writePing(data)
	}
}

// Addr is the server's "host:port".
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// StreamURL is the URL of the websocket-stream endpoint.
func (s *Server) StreamURL() string { return s.url(s.config.StreamPath) }

// PacketURL is the URL of the websocket-packet endpoint.
func (s *Server) PacketURL() string { return s.url(s.config.PacketPath) }

// Cipher is the name of the cipher in use.
func (s *Server) Cipher() string { return s.config.Cipher }

// Secret is the secret in use.
func (s *Server) Secret() string { return s.config.Secret }

func (s *Server) url(path string) string {
	scheme := "wss"
	if s.config.Plain {
		scheme = "ws"
	}
	return scheme + "://" + s.Addr() + path
}

// CAPEM is the certificate of the server's authority; nil without TLS.
func (s *Server) CAPEM() []byte {
	if s.chain == nil {
		return nil
	}
	return []byte(strings.Clone(s.chain.caPEM))
}

// CertPool holds the server's authority alone.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CAPEM())
	return pool
}

// WriteCA writes the certificate of the server's authority to a file in dir and returns its path.
func (s *Server) WriteCA(dir string) (string, error) {
	path := filepath.Join(dir, "ca.pem")
	return path, os.WriteFile(path, s.CAPEM(), 0o600)
}
