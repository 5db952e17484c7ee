package outlinetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// talk sends request to a TCP target, ends its half and reads the answer.
func talk(t *testing.T, addr, request string) ([]byte, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return io.ReadAll(conn)
}

func TestStreamTargets(t *testing.T) {
	pattern, _ := io.ReadAll(outlinetest.Pattern(1000))
	type starter = func(addr string, n int64) (*outlinetest.Target, error)
	echo := func(addr string, _ int64) (*outlinetest.Target, error) { return outlinetest.StartEcho(addr) }
	rows := []struct {
		name  string
		start starter
		want  []byte
	}{
		{"echo", echo, []byte("request")},
		{"sink", outlinetest.StartSink, pattern},
		{"greeter", outlinetest.StartGreeter, pattern},
	}
	for _, row := range rows {
		for _, addr := range []string{"", "[::1]:0"} {
			t.Run(row.name+addr, func(t *testing.T) {
				target := run(t)(row.start(addr, 1000))
				if got, err := talk(t, target.Addr(), "request"); !bytes.Equal(got, row.want) || err != nil {
					t.Errorf("answer = %d bytes, %v, want %d", len(got), err, len(row.want))
				}
				if row.name == "echo" {
					return
				}
				want := outlinetest.Upload{Size: 7, SHA256: hexSum([]byte("request"))}
				if up := upload(t, target); up != want {
					t.Errorf("upload = %+v, want %+v", up, want)
				}
			})
		}
	}
}

func TestBrokenTarget(t *testing.T) {
	target := run(t)(outlinetest.StartBroken("", 10))
	conn, err := net.Dial("tcp", target.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = conn.Write([]byte("x"))
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("end = nil, want a reset")
	}
}

func TestHTTPTarget(t *testing.T) {
	page := run(t)(outlinetest.StartHTTP(""))
	pattern, _ := io.ReadAll(outlinetest.Pattern(70_000))
	rows := []struct {
		name, method, path, body string
		status                   int
		want                     string // part of the answer
	}{
		{"page", "GET", "/", "", 200, outlinetest.PageText},
		{"bytes", "GET", "/bytes/70000", "", 200, string(pattern)},
		{"no size", "GET", "/bytes/many", "", 400, ""},
		{"negative size", "GET", "/bytes/-1", "", 400, ""},
		{"sum", "POST", "/sha256", "body", 200, hexSum([]byte("body"))},
		{"nothing there", "GET", "/nothing", "", 404, ""},
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			url := fmt.Sprintf("http://%s%s", page.Addr(), row.path)
			q, err := http.NewRequestWithContext(t.Context(), row.method, url, strings.NewReader(row.body))
			if err != nil {
				t.Fatal(err)
			}
			r, err := client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			got, err := io.ReadAll(r.Body)
			if err != nil || r.StatusCode != row.status || !strings.Contains(string(got), row.want) {
				t.Errorf("answer = %d, %d bytes, %v, want %d, %d bytes",
					r.StatusCode, len(got), err, row.status, len(row.want))
			}
		})
	}
}

func TestPattern(t *testing.T) {
	long, _ := io.ReadAll(outlinetest.Pattern(100_000))
	short, _ := io.ReadAll(outlinetest.Pattern(1000))
	if len(long) != 100_000 || !bytes.HasPrefix(long, short) {
		t.Error("patterns of two lengths differ")
	}
	if bytes.Equal(long[:1000], long[1000:2000]) {
		t.Error("pattern repeats after 1000 bytes")
	}
	if got := outlinetest.PatternSHA256(100_000); got != hexSum(long) {
		t.Errorf("PatternSHA256 = %s, want %s", got, hexSum(long))
	}
}

func TestTargetClose(t *testing.T) {
	target := run(t)(outlinetest.StartSink("", 0))
	conn, err := net.Dial("tcp", target.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		if err := target.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		// The upload of the connection that Close cut may be there.
		if _, err := target.Upload(ctx); errors.Is(err, context.Canceled) {
			break
		}
	}
	if _, err := outlinetest.StartUDPEcho("not an address"); err == nil {
		t.Error("StartUDPEcho of no address = nil")
	}
	if _, err := outlinetest.StartHTTP("not an address"); err == nil {
		t.Error("StartHTTP of no address = nil")
	}
}
