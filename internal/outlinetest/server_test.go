package outlinetest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestURLs(t *testing.T) {
	rows := []struct {
		name           string
		config         outlinetest.Config
		stream, packet string // prefixes
	}{
		{"default", outlinetest.Config{}, "wss://127.0.0.1:", "wss://127.0.0.1:"},
		{"plain", outlinetest.Config{Plain: true}, "ws://127.0.0.1:", "ws://127.0.0.1:"},
		{"IPv6", outlinetest.Config{Addr: "[::1]:0"}, "wss://[::1]:", "wss://[::1]:"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := start(t, row.config)
			stream, packet := s.StreamURL(), s.PacketURL()
			good := strings.HasPrefix(stream, row.stream) && strings.HasPrefix(packet, row.packet)
			if !good || stream == packet {
				t.Errorf("URLs = %q, %q, want %q..., %q...", stream, packet, row.stream, row.packet)
			}
			if other := start(t, row.config); strings.HasSuffix(other.StreamURL(), stream[len(stream)-20:]) {
				t.Errorf("two servers share the path of %q", stream)
			}
		})
	}
}

func TestStartErrors(t *testing.T) {
	first := start(t, outlinetest.Config{})
	rows := []struct {
		name   string
		config outlinetest.Config
	}{
		{"cipher", outlinetest.Config{Cipher: "rc4-md5"}},
		{"port in use", outlinetest.Config{Addr: first.Addr()}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if s, err := outlinetest.Start(row.config); err == nil {
				_ = s.Close()
				t.Error("Start = nil error")
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	rows := []struct {
		name, verify string
		cert         outlinetest.Cert
		good         bool
	}{
		{"localhost", "localhost", outlinetest.Cert{}, true},
		{"IPv4", "127.0.0.1", outlinetest.Cert{}, true},
		{"IPv6", "::1", outlinetest.Cert{}, true},
		{"other name", "example.test", outlinetest.Cert{}, false},
		{"given name", "example.test", outlinetest.Cert{Names: []string{"example.test"}}, true},
		{"given address", "192.0.2.1", outlinetest.Cert{Names: []string{"192.0.2.1"}}, true},
		{"given name only", "127.0.0.1", outlinetest.Cert{Names: []string{"a.test"}, Only: true}, false},
		{"expired", "localhost", outlinetest.Cert{Expired: true}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := start(t, outlinetest.Config{Cert: row.cert})
			conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: s.CertPool(), ServerName: row.verify})
			if err == nil {
				defer conn.Close()
			}
			if good := err == nil; good != row.good {
				t.Fatalf("handshake = %v, want good = %v", err, row.good)
			}
			if !row.good {
				wait(t, s, func(st outlinetest.Stats) bool { return st.BadTLS == 1 })
			}
			if row.cert.Expired {
				invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
				if !ok || invalid.Reason != x509.Expired {
					t.Errorf("handshake = %v, want an expired certificate", err)
				}
			}
		})
	}
}

// The server has no HTTP/2: a client that speaks nothing else is refused by TLS.
// TestCertificateKept starts a server twice: for clients that trust the first one, the second is the same.
func TestCertificateKept(t *testing.T) {
	config := outlinetest.Config{Cert: outlinetest.Cert{File: filepath.Join(t.TempDir(), "server.pem")}}
	first := start(t, config)
	pool, pem := first.CertPool(), first.CAPEM()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	config.Addr = first.Addr()
	second := start(t, config)
	if !bytes.Equal(second.CAPEM(), pem) {
		t.Error("the second server has another authority")
	}
	conn, err := tls.Dial("tcp", second.Addr(), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestCertificateFileOfAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(file, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := outlinetest.Start(outlinetest.Config{Cert: outlinetest.Cert{File: file}})
	if err == nil {
		_ = s.Close()
		t.Error("the server started with what is no certificate")
	}
}

func TestNoHTTP2(t *testing.T) {
	s := start(t, outlinetest.Config{})
	conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: s.CertPool(), NextProtos: []string{"h2"}})
	if err == nil {
		_ = conn.Close()
		t.Error("handshake with h2 alone succeeded")
	}
}

func TestWriteCA(t *testing.T) {
	s := start(t, outlinetest.Config{})
	path, err := s.WriteCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != string(s.CAPEM()) || !strings.Contains(string(got), "BEGIN CERTIFICATE") {
		t.Errorf("file = %q, %v, want the authority's certificate", got, err)
	}
	if _, err := s.WriteCA("/nonexistent"); err == nil {
		t.Error("WriteCA in a folder that does not exist = nil")
	}
	if got := start(t, outlinetest.Config{Plain: true}).CAPEM(); got != nil {
		t.Errorf("CAPEM without TLS = %q, want nil", got)
	}
}

func TestHTTPAnswers(t *testing.T) {
	const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	const foreign = "Origin: https://example.org\r\n"
	rows := []struct {
		name, path, headers string
		any                 bool
		want                int
	}{
		{name: "good", path: "/tcp", headers: upgrade, want: 101},
		{name: "query", path: "/tcp?a=1", headers: upgrade, want: 101},
		{name: "other path", path: "/", headers: upgrade, want: 404},
		{name: "no WebSocket", path: "/tcp", want: 400},
		{name: "foreign origin", path: "/tcp", headers: upgrade + foreign, want: 403},
		{name: "any origin", path: "/tcp", headers: upgrade + foreign, any: true, want: 101},
		{name: "own origin", path: "/tcp", headers: upgrade + "Origin: https://host\r\n", want: 101},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := start(t, outlinetest.Config{Plain: true, StreamPath: "/tcp", AnyOrigin: row.any})
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: host\r\n%s\r\n", row.path, row.headers)
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Body.Close()
			if r.StatusCode != row.want {
				t.Errorf("status = %d, want %d", r.StatusCode, row.want)
			}
			if n := len(s.Stats().Requests); n != 1 {
				t.Errorf("requests = %d, want 1", n)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	rows := []struct{ name, send string }{
		{"garbage", "\x16\x03\x01 not HTTP\r\n\r\n"},
		{"endless head", "GET / HTTP/1.1\r\nA: " + strings.Repeat("a", 100_000)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := start(t, outlinetest.Config{Plain: true})
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write([]byte(row.send))
			wait(t, s, func(st outlinetest.Stats) bool { return st.Accepted == 1 && st.Open == 0 })
		})
	}
}

func TestCloseTwice(t *testing.T) {
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if _, err := c.readAll(); err == nil {
		t.Error("connection survived Close")
	}
	if err := s.SetFault(outlinetest.Fault{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetFault after Close = %v, want %v", err, net.ErrClosed)
	}
}

func TestWaitEnds(t *testing.T) {
	s := start(t, outlinetest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx, func(outlinetest.Stats) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want %v", err, context.Canceled)
	}
}

func TestManyFlows(t *testing.T) {
	const flows = 100
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{Plain: true})
	var all sync.WaitGroup
	for i := range flows {
		all.Go(func() {
			d := websocket.Dialer{HandshakeTimeout: patience}
			ws, _, err := d.DialContext(t.Context(), s.StreamURL(), nil)
			if err != nil {
				t.Errorf("dial: %v", err)
				return
			}
			defer ws.Close()
			c := &client{t: t, ws: ws}
			ws.SetCloseHandler(func(code int, _ string) error { c.code = code; return nil })
			c.setCipher(s.Cipher(), s.Secret())
			want := fmt.Sprintf("flow %d", i)
			if err := c.write(append(socksAddr(echo.Addr()), want...)); err != nil {
				t.Errorf("write: %v", err)
			}
			c.closeWrite()
			if got, err := c.readAll(); string(got) != want || err != nil {
				t.Errorf("echo = %q, %v, want %q", got, err, want)
			}
		})
	}
	all.Wait()
	wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
	if st := s.Stats(); st.Handshakes != flows || len(st.Closings) != flows || st.Received != flows {
		t.Errorf("handshakes, closings, messages = %d, %d, %d, want %d each",
			st.Handshakes, len(st.Closings), st.Received, flows)
	}
}
