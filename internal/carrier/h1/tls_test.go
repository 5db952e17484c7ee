package h1

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

// serveOnce upgrades and leaves the connection to the client.
func serveOnce(f *far) error { return f.upgrade("") }

func TestCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	later := time.Now().Add(time.Hour)
	tests := []struct {
		name    string
		options carrier.TLSOptions
		server  *tls.Config
		says    string // part of the error; empty: none
	}{
		{"good", carrier.TLSOptions{RootCAs: ca.pool()}, ca.good(t), ""},
		{
			"another name that the user wants",
			carrier.TLSOptions{RootCAs: ca.pool(), ServerName: "front.example"},
			ca.server(t, later, "front.example"), "",
		},
		{
			"another name",
			carrier.TLSOptions{RootCAs: ca.pool()},
			ca.server(t, later, "front.example"),
			"not server.example",
		},
		{
			"expired",
			carrier.TLSOptions{RootCAs: ca.pool()},
			ca.server(t, time.Now().Add(-time.Hour), "server.example"), "is this machine's clock right?",
		},
		{
			"unknown authority",
			carrier.TLSOptions{RootCAs: other.pool()},
			ca.good(t),
			"a private authority goes into tls.ca_file",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _, err := dial(t, &Dialer{TLS: tt.options.Config("http/1.1")}, tt.server, serveOnce)
			if tt.says == "" {
				if err != nil {
					t.Fatalf("DialCarrier() = %v, want nil", err)
				}
				if p := c.(*conn).stream.(*tls.Conn).ConnectionState().NegotiatedProtocol; p != "http/1.1" {
					t.Errorf("negotiated %q, want http/1.1", p)
				}
				return
			}
			wantStage(t, err, carrier.StageTLS)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("DialCarrier() = %v, want one that says %q", err, tt.says)
			}
		})
	}
}

func TestNotTLS(t *testing.T) {
	d := &Dialer{TLS: carrier.TLSOptions{}.Config("http/1.1")}
	_, _, err := dial(t, d, nil, func(f *far) error {
		_, err := io.WriteString(f, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return err
	})
	wantStage(t, err, carrier.StageTLS)
}

func pinOf(c *x509.Certificate) carrier.Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

func TestPins(t *testing.T) {
	ca := newAuthority(t)
	server := ca.good(t)
	tests := []struct {
		name string
		pins []carrier.Pin
		want error
	}{
		{"leaf", []carrier.Pin{pinOf(server.Certificates[0].Leaf)}, nil},
		{"authority", []carrier.Pin{{}, pinOf(ca.cert)}, nil},
		{"another", []carrier.Pin{{1}}, carrier.ErrPin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := carrier.TLSOptions{RootCAs: ca.pool(), Pins: tt.pins}.Config("http/1.1")
			_, _, err := dial(t, &Dialer{TLS: config}, server, serveOnce)
			if !errors.Is(err, tt.want) {
				t.Errorf("DialCarrier() = %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				wantStage(t, err, carrier.StageTLS)
			}
		})
	}
	untrusted := carrier.TLSOptions{RootCAs: x509.NewCertPool(), Pins: []carrier.Pin{pinOf(ca.cert)}}
	_, _, err := dial(t, &Dialer{TLS: untrusted.Config("http/1.1")}, server, serveOnce)
	wantStage(t, err, carrier.StageTLS) // a pin does not replace the chain
}

// A resumed session is checked like a new one.
func TestPinsOnResumption(t *testing.T) {
	ca := newAuthority(t)
	server := ca.good(t)
	options := carrier.TLSOptions{RootCAs: ca.pool(), Sessions: carrier.NewSessions()}
	for version, number := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(version, func(t *testing.T) {
			server := server.Clone()
			server.MaxVersion = number
			open := func(pins ...carrier.Pin) (resumed bool, err error) {
				options.Pins = pins
				d := &Dialer{TLS: options.Config("http/1.1")}
				c, _, err := dial(t, d, server, func(f *far) error { return f.upgrade("x") })
				if err != nil {
					return false, err
				}
				// The ticket comes before the first byte of the server.
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				return c.(*conn).stream.(*tls.Conn).ConnectionState().DidResume, nil
			}
			if _, err := open(); err != nil {
				t.Fatal(err)
			}
			if resumed, err := open(pinOf(ca.cert)); !resumed || err != nil {
				t.Errorf("second dial resumed: %v, %v, want true", resumed, err)
			}
			if _, err := open(carrier.Pin{1}); !errors.Is(err, carrier.ErrPin) {
				t.Errorf("third dial with another pin = %v, want %v", err, carrier.ErrPin)
			}
		})
	}
}
