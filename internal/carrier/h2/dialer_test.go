package h2

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// secureServer is a dialer for a server with TLS that answers every request alike.
type secureServer struct {
	config  *tls.Config
	connect uint32 // ENABLE_CONNECT_PROTOCOL
	silent  bool   // says nothing after the TLS handshake
	status  byte   // of responses, as an index of HPACK's static table
	refuse  error  // of every dial

	serving sync.WaitGroup
	dials   int
	sockets []*recorder
}

const status200, status404 = 0x88, 0x8d

func newSecureServer(t *testing.T, protocols ...string) (*secureServer, *tls.Config) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(100, 0, 0),
		DNSNames: []string{"example.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	config := &tls.Config{
		NextProtos:   protocols,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
	}
	server := &secureServer{connect: 1, status: status200, config: config}
	return server, carrier.TLSOptions{RootCAs: roots}.Config("h2")
}

// plainConn is a recorder with the rest of a StreamConn.
type plainConn struct {
	*recorder
	pipe *transporttest.PipeConn
}

func (c plainConn) CloseRead() error  { return c.pipe.CloseRead() }
func (c plainConn) CloseWrite() error { return c.pipe.CloseWrite() }

func (s *secureServer) DialStream(_ context.Context, addr string) (transport.StreamConn, error) {
	s.dials++
	if s.refuse != nil || addr != "example.com:8443" {
		return nil, s.refuse
	}
	a, b := transporttest.Pipe()
	s.serving.Go(func() {
		defer b.Close()
		_ = s.serve(tls.Server(b, s.config))
	})
	socket := &recorder{Conn: a}
	s.sockets = append(s.sockets, socket)
	return plainConn{socket, a}, nil
}

func (s *secureServer) serve(conn *tls.Conn) error {
	hello := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, hello); err != nil {
		return err
	}
	fr := http2.NewFramer(conn, conn)
	if !s.silent {
		_ = fr.WriteSettings(setting(http2.SettingEnableConnectProtocol, s.connect), initialWindow(1<<20))
		_ = fr.WriteWindowUpdate(0, 1<<20)
	}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return err
		}
		if f.Header().Type == http2.FrameHeaders {
			_ = fr.WriteRawFrame(http2.FrameHeaders, endHeaders, f.Header().StreamID, []byte{s.status})
		}
	}
}

var secureURL = &url.URL{Scheme: "wss", Host: "example.com:8443", Path: "/secret"}

// withDialer runs a test with a dialer for the server.
func withDialer(t *testing.T, s *secureServer, c *tls.Config, test func(t *testing.T, d *Dialer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := NewDialer(secureURL, Config{Net: s, TLS: c})
		defer s.serving.Wait()
		defer d.Close()
		test(t, d)
	})
}

func TestDialerSharesAConnection(t *testing.T) {
	server, config := newSecureServer(t, "h2")
	withDialer(t, server, config, func(t *testing.T, d *Dialer) {
		for range 5 {
			if _, err := d.DialCarrier(context.Background(), secureURL); err != nil {
				t.Fatal(err)
			}
		}
		if server.dials != 1 {
			t.Errorf("dials = %d, want 1", server.dials)
		}
	})
}

// A full frame is one record of TLS and one write.
func TestFrameIsOneRecord(t *testing.T) {
	server, config := newSecureServer(t, "h2")
	withDialer(t, server, config, func(t *testing.T, d *Dialer) {
		conn, err := d.DialCarrier(context.Background(), secureURL)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		server.sockets[0].takeSizes()
		w := conn.(transport.HeadroomWriter)
		room := w.Headroom()
		buf := make([]byte, room.Front+room.Max+room.Back)
		for range 3 {
			if err := w.WriteHeadroom(buf, room.Front, room.Back); err != nil {
				t.Fatal(err)
			}
		}
		const record = transport.RecordSize + 5 + 1 + 16 // header, type and tag of TLS 1.3
		if sizes := server.sockets[0].takeSizes(); !slices.Equal(sizes, []int{record, record, record}) {
			t.Errorf("sizes of writes = %v, want three of %d", sizes, record)
		}
	})
}

func TestDialerFails(t *testing.T) {
	refused := errors.New("refused")
	tests := map[string]struct {
		protocols []string
		change    func(s *secureServer, c *tls.Config)
		stage     carrier.Stage
		want      error
	}{
		"no socket": {
			[]string{"h2"},
			func(s *secureServer, _ *tls.Config) { s.refuse = refused },
			carrier.StageConnect, refused,
		},
		"server knows HTTP/1.1 alone": {
			[]string{"http/1.1"}, func(*secureServer, *tls.Config) {}, carrier.StageTLS, ErrNoH2,
		},
		"server knows no ALPN": {
			nil, func(*secureServer, *tls.Config) {}, carrier.StageTLS, ErrNoH2,
		},
		"certificate is not trusted": {
			[]string{"h2"},
			func(_ *secureServer, c *tls.Config) { c.RootCAs = x509.NewCertPool() },
			carrier.StageTLS, nil,
		},
		"no extended CONNECT": {
			[]string{"h2"},
			func(s *secureServer, _ *tls.Config) { s.connect = 0 },
			carrier.StageSettings, ErrNoConnect,
		},
		"no SETTINGS": {
			[]string{"h2"},
			func(s *secureServer, _ *tls.Config) { s.silent = true },
			carrier.StageSettings, context.DeadlineExceeded,
		},
		"wrong path": {
			[]string{"h2"},
			func(s *secureServer, _ *tls.Config) { s.status = status404 },
			carrier.StageHandshake, nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server, config := newSecureServer(t, tt.protocols...)
			tt.change(server, config)
			withDialer(t, server, config, func(t *testing.T, d *Dialer) {
				_, err := d.DialCarrier(context.Background(), secureURL)
				failure, ok := errors.AsType[*carrier.Error](err)
				if !ok || failure.Mode != carrier.H2 || failure.Stage != tt.stage {
					t.Errorf("DialCarrier() = %v, want an *Error of h2 at stage %s", err, tt.stage)
				}
				if tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("DialCarrier() = %v, want %v", err, tt.want)
				}
			})
		})
	}
}

// A server that said nothing the last time is not waited for that long again.
func TestDialerIsImpatient(t *testing.T) {
	server, config := newSecureServer(t, "h2")
	server.silent = true
	withDialer(t, server, config, func(t *testing.T, d *Dialer) {
		strict := NewDialer(secureURL, Config{Net: d.Net, TLS: d.TLS, Patience: time.Second})
		defer strict.Close()
		for _, want := range []time.Duration{10 * time.Second, time.Second} {
			start := time.Now()
			_, err := strict.DialCarrier(t.Context(), secureURL)
			failure, ok := errors.AsType[*carrier.Error](err)
			if !ok || failure.Mode != carrier.H2 || failure.Stage != carrier.StageSettings {
				t.Errorf("DialCarrier() = %v, want an *Error of h2 at stage %s", err, carrier.StageSettings)
			}
			if took := time.Since(start); took != want {
				t.Errorf("DialCarrier() took %v, want %v", took, want)
			}
		}
	})
}
