package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

const size = 10 << 20

// startTarget runs a target until the test ends.
func startTarget(t *testing.T, target *outlinetest.Target, err error) *outlinetest.Target {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	return target
}

func TestEveryCipherCarriesEverything(t *testing.T) {
	for _, cipher := range []string{"chacha20-ietf-poly1305", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"} {
		for _, ip := range []string{"127.0.0.1", "[::1]"} {
			t.Run(cipher+"/"+ip, func(t *testing.T) {
				any := needAddr(t, ip)
				s := startServer(t, outlinetest.Config{Addr: any, Cipher: cipher})
				c := startClient(t, any, "upstreams:\n"+entry(t, s))
				web, err := outlinetest.StartHTTP(any)
				web = startTarget(t, web, err)
				echo, err := outlinetest.StartUDPEcho(any)
				echo = startTarget(t, echo, err)
				download(t, c, web.Addr())
				upload(t, c, web.Addr())
				datagrams(t, c, echo.Addr(), size)
			})
		}
	}
}

// needAddr returns a free port of ip, or skips the test where the machine has no such address.
func needAddr(t *testing.T, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Skipf("this machine has no %s: %v", ip, err)
	}
	_ = l.Close()
	return ip + ":0"
}

func webClient(t *testing.T, c *client) *http.Client {
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: c.addr})}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func download(t *testing.T, c *client, target string) {
	t.Helper()
	r, err := webClient(t, c).Get(fmt.Sprintf("http://%s/bytes/%d", target, size))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	wantPattern(t, r.Body, size)
}

// wantPattern reads r to its end and wants n bytes of the pattern and a clean end.
func wantPattern(t *testing.T, r io.Reader, n int64) {
	t.Helper()
	hash := sha256.New()
	got, err := io.Copy(hash, r)
	if err != nil || got != n || hex.EncodeToString(hash.Sum(nil)) != outlinetest.PatternSHA256(n) {
		t.Errorf("read %d bytes with SHA-256 %x, error %v; want %d with %s",
			got, hash.Sum(nil), err, n, outlinetest.PatternSHA256(n))
	}
}

func upload(t *testing.T, c *client, target string) {
	t.Helper()
	pattern := outlinetest.Pattern(size)
	r, err := webClient(t, c).Post("http://"+target+"/sha256", "application/octet-stream", pattern)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	got, err := io.ReadAll(r.Body)
	if err != nil || strings.TrimSpace(string(got)) != outlinetest.PatternSHA256(size) {
		t.Errorf("upload: hash %s, error %v; want %s", got, err, outlinetest.PatternSHA256(size))
	}
}

// datagrams sends total bytes through a UDP association to an echo, waits for each to come back, and
// compares.
func datagrams(t *testing.T, c *client, target string, total int) {
	t.Helper()
	_, code, bound := request(t, c, 3, "0.0.0.0:0")
	if code != 0 {
		t.Fatalf("UDP ASSOCIATE: reply %d, want 0", code)
	}
	conn, err := net.Dial("udp", bound.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	addr, err := socksaddr.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	header := addr.Append([]byte{0, 0, 0})
	source := outlinetest.Pattern(int64(total))
	out, in := make([]byte, 3900), make([]byte, 4096)
	for sent := 0; sent < total; {
		n, _ := io.ReadFull(source, out)
		datagram := append(bytes.Clone(header), out[:n]...)
		got := exchange(t, conn, datagram, in)
		// The answer's header names its source, which is the target, so all of it is equal.
		if !bytes.Equal(got, datagram) {
			t.Fatalf("datagram at %d came back as %d bytes, other than what was sent", sent, len(got))
		}
		sent += n
	}
}

// exchange sends a datagram until one comes back: on loopback, too, they get lost.
func exchange(t *testing.T, conn net.Conn, datagram, in []byte) []byte {
	t.Helper()
	for range 5 {
		if _, err := conn.Write(datagram); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience / 5)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(in); err == nil {
			return in[:n]
		}
	}
	t.Fatal("no datagram came back")
	return nil
}

func TestAnswerAfterTheClientsEnd(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	c := startClient(t, "127.0.0.1:0", "upstreams:\n"+entry(t, s))
	target, err := outlinetest.StartSink("", size)
	sink := startTarget(t, target, err)
	conn := connect(t, c, sink.Addr())
	if _, err := io.WriteString(conn, "request"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantPattern(t, conn, size)
	c.log.wait(t, "flow closed", fmt.Sprint("received=", size), "upstream=127.0.0.1")
}

func TestUploadAfterTheServersEnd(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	c := startClient(t, "127.0.0.1:0", "upstreams:\n"+entry(t, s))
	for _, greeting := range []int64{1000, 0} {
		t.Run(fmt.Sprint(greeting, " bytes first"), func(t *testing.T) {
			target, err := outlinetest.StartGreeter("", greeting)
			greeter := startTarget(t, target, err)
			conn := connect(t, c, greeter.Addr())
			if n, err := io.Copy(io.Discard, conn); n != greeting || err != nil {
				t.Fatalf("greeting: %d bytes, error %v, want %d and a clean end", n, err, greeting)
			}
			if _, err := io.Copy(conn, outlinetest.Pattern(size)); err != nil {
				t.Fatal(err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			up, err := greeter.Upload(t.Context())
			if err != nil || up.Err != nil || up.SHA256 != outlinetest.PatternSHA256(size) {
				t.Errorf("upload = %+v, %v; want %d bytes and a clean end", up, err, size)
			}
		})
	}
}

// TestBrokenAnswersAreResets is the promise that a truncated download never looks complete.
func TestBrokenAnswersAreResets(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault outlinetest.Fault
	}{
		{"FIN in the middle of a chunk", outlinetest.Fault{End: outlinetest.EndCut, After: 100_000}},
		{"RST in the middle of a chunk", outlinetest.Fault{End: outlinetest.EndReset, After: 100_000}},
		{"TLS ends without a Close frame", outlinetest.Fault{End: outlinetest.EndFIN, After: 100_000}},
		{"Close frame 1011", outlinetest.Fault{End: outlinetest.EndCode, Code: 1011, After: 100_000}},
		{"masked frame", outlinetest.Fault{Framing: outlinetest.Masked}},
		{"text message", outlinetest.Fault{Framing: outlinetest.Text}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, outlinetest.Config{})
			if err := s.SetFault(tt.fault); err != nil {
				t.Fatal(err)
			}
			c := startClient(t, "127.0.0.1:0", "upstreams:\n"+entry(t, s))
			target, err := outlinetest.StartGreeter("", size)
			conn := connect(t, c, startTarget(t, target, err).Addr())
			if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read = %v, want a reset", err)
			}
			c.log.wait(t, "flow broken")
		})
	}
}

func TestOddFramesAreFine(t *testing.T) {
	for _, tt := range []struct {
		name    string
		framing outlinetest.Framing
		size    int64
	}{
		{"fragmented", outlinetest.Fragmented, size},
		{"tiny", outlinetest.Tiny, 100_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, outlinetest.Config{})
			if err := s.SetFault(outlinetest.Fault{Framing: tt.framing}); err != nil {
				t.Fatal(err)
			}
			c := startClient(t, "127.0.0.1:0", "upstreams:\n"+entry(t, s))
			target, err := outlinetest.StartGreeter("", tt.size)
			conn := connect(t, c, startTarget(t, target, err).Addr())
			wantPattern(t, conn, tt.size)
		})
	}
}
