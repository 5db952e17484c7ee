package h1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

var errGivenUp = errors.New("given up for a reason")

// stalls are servers that stop, and where.
var stalls = []struct {
	name  string
	url   string
	stage carrier.Stage
	serve func(f *far) error // returns when the client waits
}{
	{"before TLS", secureURL, carrier.StageTLS, func(f *far) error {
		_, err := io.ReadFull(f.StreamConn, make([]byte, 5)) // of the ClientHello
		return err
	}},
	{"before the response", plainURL, carrier.StageHandshake, func(f *far) error {
		_, err := f.head()
		return err
	}},
	{"in the response", plainURL, carrier.StageHandshake, func(f *far) error {
		if _, err := f.head(); err != nil {
			return err
		}
		_, err := io.WriteString(f, "HTTP/1.1 101 Switching")
		return err
	}},
	{"in the response over TLS", secureURL, carrier.StageHandshake, func(f *far) error {
		if _, err := f.head(); err != nil {
			return err
		}
		_, err := io.WriteString(f, "HTTP/1.1 101 Switching")
		return err
	}},
}

// A server that stalls holds nobody longer than ctx allows, and leaves nothing behind.
func TestStalledServer(t *testing.T) {
	ca := newAuthority(t)
	config := carrier.TLSOptions{RootCAs: ca.pool()}.Config("http/1.1")
	for _, tt := range stalls {
		t.Run(tt.name, func(t *testing.T) {
			client, server := transporttest.TCPPair(t)
			f := newFar(server, map[bool]*tls.Config{true: ca.good(t)}[tt.url == secureURL])
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() {
				if err := tt.serve(f); err != nil {
					t.Error(err)
				}
				cancel(errGivenUp)
				_, err := io.Copy(io.Discard, f.StreamConn)
				ended <- err
			}()
			d := &Dialer{Net: oneConn{conn: client}, TLS: config}
			_, err := d.DialCarrier(ctx, parse(t, tt.url))
			wantStage(t, err, tt.stage)
			if !errors.Is(err, errGivenUp) {
				t.Errorf("DialCarrier() = %v, want the cause, %v", err, errGivenUp)
			}
			<-ended // the client's side is closed
		})
	}
}

func TestTimeout(t *testing.T) {
	client, _ := transporttest.TCPPair(t)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errGivenUp)
	defer cancel()
	_, err := (&Dialer{Net: oneConn{conn: client}}).DialCarrier(ctx, parse(t, plainURL))
	wantStage(t, err, carrier.StageHandshake)
	if !errors.Is(err, errGivenUp) {
		t.Errorf("DialCarrier() = %v, want the cause, %v", err, errGivenUp)
	}
}

// ctx bounds the opening only.
func TestStreamOutlivesContext(t *testing.T) {
	client, server := transporttest.TCPPair(t)
	f := newFar(server, nil)
	go func() { _ = f.upgrade("") }()
	ctx, cancel := context.WithCancel(t.Context())
	c, err := (&Dialer{Net: oneConn{conn: client}}).DialCarrier(ctx, parse(t, plainURL))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if _, err := io.WriteString(f, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("read after the end of ctx = %v, want nil", err)
	}
}

func TestDialErrors(t *testing.T) {
	noSuchHost := &net.DNSError{Err: "no such host", Name: "server.example", IsNotFound: true}
	tests := []struct {
		name  string
		err   error
		stage carrier.Stage
	}{
		{"no such host", noSuchHost, carrier.StageResolve},
		{"refused", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, carrier.StageConnect},
	}
	for _, tt := range tests {
		_, err := (&Dialer{Net: noNetwork{tt.err}}).DialCarrier(t.Context(), parse(t, plainURL))
		wantStage(t, err, tt.stage)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: DialCarrier() = %v, want %v", tt.name, err, tt.err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGivenUp)
		_, err = (&Dialer{Net: noNetwork{tt.err}}).DialCarrier(ctx, parse(t, plainURL))
		wantStage(t, err, tt.stage)
		if !errors.Is(err, tt.err) || !errors.Is(err, errGivenUp) {
			t.Errorf("%s after ctx: DialCarrier() = %v, want %v with its cause", tt.name, err, tt.err)
		}
	}
}

// A handshake that fails ends the connection with a reset: there is nothing to say to that server.
func TestFailedHandshakeClosesSocket(t *testing.T) {
	tests := []struct {
		name  string
		serve func(f *far) error
		says  string
	}{
		{"hangs up", func(f *far) error { _, _ = f.head(); return f.Close() }, "server hung up"},
		{"resets", func(f *far) error { _, _ = f.head(); return f.Abort() }, "connection reset"},
		{"refuses", func(f *far) error {
			_, _ = f.head()
			_, err := io.WriteString(f, "HTTP/1.1 403 Forbidden\r\n\r\n")
			return err
		}, "403"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, f, err := dial(t, &Dialer{}, nil, tt.serve)
			wantStage(t, err, carrier.StageHandshake)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("DialCarrier() = %v, want one that says %q", err, tt.says)
			}
			if _, err := f.Read(make([]byte, 1)); err == nil {
				t.Error("the server still reads, want an end")
			}
		})
	}
}

// What the server sends together with its response is read first.
func TestEarlyBytes(t *testing.T) {
	ca := newAuthority(t)
	early := strings.Repeat("early", 1000)
	for name, tt := range map[string]struct{ client, server *tls.Config }{
		"plain": {},
		"TLS":   {carrier.TLSOptions{RootCAs: ca.pool()}.Config("http/1.1"), ca.good(t)},
	} {
		c, _, err := dial(t, &Dialer{TLS: tt.client}, tt.server, func(f *far) error {
			if err := f.upgrade(early); err != nil {
				return err
			}
			if _, err := io.WriteString(f, " and late"); err != nil {
				return err
			}
			return f.CloseWrite()
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if want := early + " and late"; string(got) != want || err != nil {
			t.Errorf("%s: read %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
}

// The suite runs over a pipe: loopback TCP stalls for 200 ms now and then, because its segments are as long
// as its first windows.
func conformance(t *testing.T, client, server *tls.Config) {
	t.Helper()
	transporttest.Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
		here, there := transporttest.Pipe()
		d := &Dialer{TLS: client}
		c, f, err := dialOver(t, d, here, newFar(there, server), serveOnce)
		if err != nil {
			t.Fatal(err)
		}
		return c, f
	})
}

func TestConformancePlain(t *testing.T) {
	t.Parallel() // most of it is waiting
	conformance(t, nil, nil)
}

func TestConformanceTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	conformance(t, carrier.TLSOptions{RootCAs: ca.pool()}.Config("http/1.1"), ca.good(t))
}

func TestConformanceTLS12(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server := ca.good(t)
	server.MaxVersion = tls.VersionTLS12
	conformance(t, carrier.TLSOptions{RootCAs: ca.pool()}.Config("http/1.1"), server)
}
