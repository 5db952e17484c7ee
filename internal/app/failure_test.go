package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// Reply codes (RFC 1928, section 6).
const (
	replyFailure     = 1
	replyUnreachable = 4
	replyRefused     = 5
	replyTimeout     = 6
)

// closedPort returns an address on which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestUpstreamFailures shows that each way in which a server can fail has its reply code and its log line,
// within the limit for a dial.
func TestUpstreamFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config outlinetest.Config
		fault  outlinetest.Fault
		edit   func(entry string) string
		want   byte
		log    string
	}{
		{
			name: "port closed", fault: outlinetest.Fault{Stage: outlinetest.RefuseTCP},
			want: replyRefused, log: "connection refused",
		},
		{
			name: "TLS stalls", fault: outlinetest.Fault{Stage: outlinetest.StallTLS},
			want: replyTimeout, log: "h1 tls: nothing within 500ms",
		},
		{
			name: "handshake stalls", fault: outlinetest.Fault{Stage: outlinetest.StallHTTP},
			want: replyTimeout, log: "h1 handshake: nothing within 500ms",
		},
		{
			name: "no such path", fault: outlinetest.Fault{Status: 404},
			want: replyFailure, log: "404 Not Found instead of 101: is the path in the URL right?",
		},
		{
			name: "expired certificate", config: outlinetest.Config{Cert: outlinetest.Cert{Expired: true}},
			want: replyFailure, log: "has expired or is not yet valid",
		},
		{
			name: "unknown authority", edit: withoutCA,
			want: replyFailure, log: "a private authority goes into tls.ca_file",
		},
		{
			name:   "another name",
			config: outlinetest.Config{Cert: outlinetest.Cert{Names: []string{"x.test"}, Only: true}},
			want:   replyFailure, log: "h1 tls",
		},
		{
			name: "unknown host", edit: elsewhere,
			want: replyUnreachable, log: "h1 resolve",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, tt.config)
			if err := s.SetFault(tt.fault); err != nil {
				t.Fatal(err)
			}
			e := entry(t, s)
			if tt.edit != nil {
				e = tt.edit(e)
			}
			noDNS := fmt.Sprintf("dns: {servers: [%q]}\n", closedPort(t)) // this test asks nobody outside
			c := startClient(t, "127.0.0.1:0", noDNS+"dial_timeout: 500ms\nupstreams:\n"+e)
			start := time.Now()
			_, code, _ := request(t, c, 1, "192.0.2.1:80")
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("the reply took %s", took)
			}
			// Without a name server at all, a resolver may take its time before it says so.
			late := tt.name == "unknown host" && code == replyTimeout
			if code != tt.want && !late {
				t.Errorf("reply %d, want %d", code, tt.want)
			}
			if r := c.log.wait(t, "flow failed", tt.log); r.level != slog.LevelWarn {
				t.Errorf("logged at %s, want WARN", r.level)
			}
		})
	}
}

// elsewhere gives an upstream's entry a host that does not exist.
func elsewhere(entry string) string { return strings.ReplaceAll(entry, "127.0.0.1", "nowhere.invalid") }

// withoutCA takes the certificate authority out of an upstream's entry.
func withoutCA(entry string) string {
	before, _, _ := strings.Cut(entry, ", tls:")
	return before + "}\n"
}

// TestFlowFailures shows what a flow meets after its dial succeeded: Shadowsocks has no connect
// acknowledgement.
func TestFlowFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config outlinetest.Config
		fault  outlinetest.Fault
		log    string
	}{
		{
			name: "target refuses",
			log:  "the target refused or cannot be reached",
		},
		{
			name:   "wrong secret",
			config: outlinetest.Config{Secret: "another", DrainTimeout: 300 * time.Millisecond},
			log:    "server hung up without an answer",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t, tt.config)
			c := startClient(t, "127.0.0.1:0", "upstreams:\n"+entry(t, s))
			conn := connect(t, c, closedPort(t))
			if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read = %v, want a reset", err)
			}
			c.log.wait(t, "flow broken", tt.log)
		})
	}
}

// TestNextUpstream shows that a flow does not notice an upstream that cannot be reached.
func TestNextUpstream(t *testing.T) {
	dead, live := startServer(t, outlinetest.Config{}), startServer(t, outlinetest.Config{})
	if err := dead.SetFault(outlinetest.Fault{Stage: outlinetest.StallTLS}); err != nil {
		t.Fatal(err)
	}
	c := startClient(t, "127.0.0.1:0", "dial_timeout: 300ms\nupstreams:\n"+entry(t, dead)+
		strings.Replace(entry(t, live), "{", "{name: live, ", 1))
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	for i := range 3 {
		conn := connect(t, c, echo.Addr())
		if _, err := fmt.Fprintf(conn, "flow %d", i); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != fmt.Sprintf("flow %d", i) {
			t.Errorf("echo = %q, %v", got, err)
		}
	}
	c.log.wait(t, "upstream failed", "proto=tcp")
	if n := dead.Stats().Accepted; n != 1 {
		t.Errorf("the dead upstream was tried %d times, want once: it cools down", n)
	}
}

// TestFlagsStayHere shows that URL flags never reach the server and the rest of the query does, byte for
// byte.
func TestFlagsStayHere(t *testing.T) {
	s := startServer(t, outlinetest.Config{AnyOrigin: true})
	query := "?b=%2F&h2=1&a=1&&origin=https%3A%2F%2Fapp.example&x"
	e := strings.ReplaceAll(entry(t, s), `/tcp"`, "/tcp"+query+`"`)
	e = strings.Replace(e, "{", "{headers: {X-Test: yes, Host: front.example}, ", 1)
	c := startClient(t, "127.0.0.1:0", "upstreams:\n"+e)
	target, err := outlinetest.StartGreeter("", 10)
	conn := connect(t, c, startTarget(t, target, err).Addr())
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Fatal(err)
	}
	r := s.Stats().Requests[0]
	if want := "/" + testPath + "/tcp?b=%2F&a=1&&x"; r.URI != want {
		t.Errorf("request for %s, want %s", r.URI, want)
	}
	origin, extra := r.Header.Get("Origin"), r.Header.Get("X-Test")
	if r.Host != "front.example" || origin != "https://app.example" || extra != "yes" {
		t.Errorf("request head = %q", r.Head)
	}
	c.log.wait(t, "stepped down", "carrier=h1", "from=h2")
}
