package outlinetest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestStreamEcho(t *testing.T) {
	rows := []struct {
		name         string
		config       outlinetest.Config
		echo, target string
	}{
		{name: "default"},
		{name: "chacha20", config: outlinetest.Config{Cipher: "chacha20-ietf-poly1305", Secret: "x"}},
		{name: "aes-128", config: outlinetest.Config{Cipher: "aes-128-gcm", Secret: "longer than the key"}},
		{name: "aes-192", config: outlinetest.Config{Cipher: "aes-192-gcm"}},
		{name: "aes-256", config: outlinetest.Config{Cipher: "aes-256-gcm"}},
		{name: "plain", config: outlinetest.Config{Plain: true}},
		{name: "IPv6", config: outlinetest.Config{Addr: "[::1]:0"}, echo: "[::1]:0"},
		{name: "named", target: "example.test:7"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			echo := run(t)(outlinetest.StartEcho(row.echo))
			target := echo.Addr()
			if row.target != "" {
				target = row.target
				row.config.Hosts = map[string]string{target: echo.Addr()}
			}
			s := start(t, row.config)
			c := mustDial(t, s, s.StreamURL())
			c.open(target, "hello, ")
			if err := c.write([]byte("world")); err != nil {
				t.Fatal(err)
			}
			c.closeWrite()
			got, err := c.readAll()
			if string(got) != "hello, world" || err != nil || c.code != 1000 {
				t.Errorf("echo = %q, %v, code %d, want %q, nil, 1000", got, err, c.code, "hello, world")
			}
			if got := s.Stats(); len(got.Targets) != 1 || got.Targets[0] != target {
				t.Errorf("targets = %q, want %q", got.Targets, target)
			}
		})
	}
}

// A message of the answer is one chunk, of at most 0x3FFF bytes, and the salt comes with the first.
func TestOneMessagePerChunk(t *testing.T) {
	const size = 1 << 20
	sink := run(t)(outlinetest.StartSink("", size))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(sink.Addr(), "")
	c.closeWrite()
	total, first := 0, c.size
	for {
		_, message, err := c.ws.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		payload := len(message) - first - 2 - 32
		if payload < 1 || payload > 0x3FFF {
			t.Fatalf("payload of a message = %d bytes, want 1 to %d", payload, 0x3FFF)
		}
		total, first = total+payload, 0
	}
	if total != size {
		t.Errorf("sum of payloads = %d, want %d", total, size)
	}
}

func TestClientEndsFirst(t *testing.T) {
	const size = 3 << 20
	sink := run(t)(outlinetest.StartSink("", size))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(sink.Addr(), "request")
	c.closeWrite()
	got, err := c.readAll()
	if err != nil || hexSum(got) != outlinetest.PatternSHA256(size) {
		t.Errorf("answer = %d bytes, %v, want the pattern of %d", len(got), err, size)
	}
	if up := upload(t, sink); up.Size != int64(len("request")) || up.Err != nil {
		t.Errorf("upload = %+v, want 7 bytes and a clean end", up)
	}
	wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
	want := outlinetest.Closing{Endpoint: outlinetest.StreamEndpoint, Code: 1000}
	if got := s.Stats().Closings; len(got) != 1 || got[0] != want {
		t.Errorf("closings = %+v, want %+v", got, want)
	}
}

func TestEmptyMessageEndsUpload(t *testing.T) {
	sink := run(t)(outlinetest.StartSink("", 5))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(sink.Addr(), "request")
	c.send(nil)
	if got, err := c.readAll(); len(got) != 5 || err != nil {
		t.Errorf("answer = %q, %v, want 5 bytes", got, err)
	}
	if up := upload(t, sink); up.Size != 7 || up.Err != nil {
		t.Errorf("upload = %+v, want 7 bytes and a clean end", up)
	}
}

func TestServerEndsFirst(t *testing.T) {
	const size = 2 << 20
	greeter := run(t)(outlinetest.StartGreeter("", 100))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(greeter.Addr(), "")
	if got, err := c.readAll(); len(got) != 100 || err != nil || c.code != 1000 {
		t.Fatalf("greeting = %d bytes, %v, code %d, want 100, nil, 1000", len(got), err, c.code)
	}
	data, _ := io.ReadAll(outlinetest.Pattern(size))
	if err := c.write(data); err != nil {
		t.Fatal(err)
	}
	if open := s.Stats().Open; open != 1 {
		t.Errorf("open before our Close = %d, want 1", open)
	}
	c.closeWrite()
	want := outlinetest.Upload{Size: size, SHA256: outlinetest.PatternSHA256(size)}
	if up := upload(t, greeter); up != want {
		t.Errorf("upload = %+v, want the pattern of %d", up, size)
	}
	wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
}

func TestTargetThatRefuses(t *testing.T) {
	closed := run(t)(outlinetest.StartEcho(""))
	_ = closed.Close()
	noRoute := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }
	rows := []struct {
		name, target string
		dial         func(context.Context, string, string) (net.Conn, error)
	}{
		{name: "closed port", target: closed.Addr()},
		{name: "unknown host", target: "no-such-host.test:80"},
		{name: "not on loopback", target: "192.0.2.1:80"},
		{name: "own dialer", target: "192.0.2.1:80", dial: noRoute},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := start(t, outlinetest.Config{Dial: row.dial})
			c := mustDial(t, s, s.StreamURL())
			c.open(row.target, "data")
			if got, err := c.readAll(); len(got) != 0 || err != nil || c.code != 1000 || c.in != nil {
				t.Errorf("answer = %q, %v, code %d, want nothing, nil, 1000", got, err, c.code)
			}
			wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
		})
	}
}

func TestBrokenTargetLooksLikeOutlines(t *testing.T) {
	broken := run(t)(outlinetest.StartBroken("", 0))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(broken.Addr(), "x")
	if _, err := c.readAll(); err != nil || c.code != 1000 {
		t.Errorf("end = %v, code %d, want nil, 1000", err, c.code)
	}
}

func TestDrainedStreams(t *testing.T) {
	echo := run(t)(outlinetest.StartEcho(""))
	rows := []struct {
		name string
		send func(c *client)
		want func(outlinetest.Stats) bool
	}{
		{
			"wrong secret",
			func(c *client) { c.setCipher("chacha20-ietf-poly1305", "wrong"); c.open(echo.Addr(), "x") },
			func(st outlinetest.Stats) bool { return st.BadStreams == 1 },
		},
		{
			"too few bytes",
			func(c *client) { c.send(make([]byte, 49)) },
			func(outlinetest.Stats) bool { return true },
		},
		{
			"unknown address type",
			func(c *client) { c.send(c.seal([]byte{9, 9, 9})); c.send(c.seal([]byte("more"))) },
			func(st outlinetest.Stats) bool { return st.BadStreams == 1 },
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			const drain = 150 * time.Millisecond
			s := start(t, outlinetest.Config{DrainTimeout: drain})
			began := time.Now()
			c := mustDial(t, s, s.StreamURL())
			row.send(c)
			wait(t, s, row.want)
			if row.name == "unknown address type" {
				c.closeWrite() // its drain has no limit
			}
			got, err := c.readAll()
			if len(got) != 0 || err != nil || c.code != 1000 || c.in != nil {
				t.Errorf("answer = %q, %v, code %d, want a silent end", got, err, c.code)
			}
			if took := time.Since(began); row.name != "unknown address type" && took < drain {
				t.Errorf("drained for %v, want at least %v", took, drain)
			}
			if n := len(s.Stats().Targets); n != 0 {
				t.Errorf("targets = %d, want none", n)
			}
		})
	}
}

func TestReplay(t *testing.T) {
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{DrainTimeout: 100 * time.Millisecond})
	first := mustDial(t, s, s.StreamURL())
	message := first.seal(append(socksAddr(echo.Addr()), "once"...))
	first.send(message)
	first.readN(len("once"))

	again := mustDial(t, s, s.StreamURL())
	again.send(message)
	if got, err := again.readAll(); len(got) != 0 || err != nil || again.in != nil {
		t.Errorf("replay = %q, %v, want a silent end", got, err)
	}
	if st := s.Stats(); st.Replays != 1 || len(st.Targets) != 1 {
		t.Errorf("replays = %d, targets = %d, want 1, 1", st.Replays, len(st.Targets))
	}
}

func TestTextMessageEndsStream(t *testing.T) {
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(echo.Addr(), "x")
	c.readN(1)
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte("text")); err != nil {
		t.Fatal(err)
	}
	if got, err := c.readAll(); len(got) != 0 || err != nil {
		t.Errorf("answer = %q, %v, want the end", got, err)
	}
	wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
}

// A client that is gone without a Close frame ends the target's input, and is told apart in the stats.
func TestClientGone(t *testing.T) {
	sink := run(t)(outlinetest.StartSink("", 1))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(sink.Addr(), "abc")
	wait(t, s, func(st outlinetest.Stats) bool { return len(st.Targets) == 1 })
	_ = c.ws.NetConn().Close()
	if up := upload(t, sink); up.Size != 3 || up.Err != nil {
		t.Errorf("upload = %+v, want 3 bytes and a clean end", up)
	}
	wait(t, s, func(st outlinetest.Stats) bool { return len(st.Closings) == 1 })
	if got := s.Stats().Closings[0].Code; got != 1006 {
		t.Errorf("closing code = %d, want 1006", got)
	}
}

func TestPings(t *testing.T) {
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	pong := make(chan string, 1)
	c.ws.SetPongHandler(func(data string) error { pong <- data; return nil })
	done := make(chan struct{})
	go func() { defer close(done); _, _ = c.readAll() }()
	deadline := time.Now().Add(patience)
	if err := c.ws.WriteControl(websocket.PingMessage, []byte("are you there"), deadline); err != nil {
		t.Fatal(err)
	}
	if got := <-pong; got != "are you there" {
		t.Errorf("pong = %q", got)
	}
	s.PingAll("and you")
	wait(t, s, func(st outlinetest.Stats) bool { return st.Pings == 1 && st.Pongs == 1 })
	_ = s.Close()
	<-done
}

func TestLargeBothWays(t *testing.T) {
	const size = 10 << 20
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(echo.Addr(), "")
	done := make(chan error)
	go func() {
		data, _ := io.ReadAll(outlinetest.Pattern(size))
		err := c.write(data)
		c.closeWrite()
		done <- err
	}()
	got, err := c.readAll()
	if err := <-done; err != nil {
		t.Errorf("upload: %v", err)
	}
	if err != nil || hexSum(got) != outlinetest.PatternSHA256(size) {
		t.Errorf("echo = %d bytes, %v, want the pattern of %d", len(got), err, size)
	}
}

func upload(t *testing.T, target *outlinetest.Target) outlinetest.Upload {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	up, err := target.Upload(ctx)
	if err != nil {
		t.Fatalf("upload: %v", err)
	}
	return up
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestRequests(t *testing.T) {
	s := start(t, outlinetest.Config{StreamPath: "/a/secret"})
	c := mustDial(t, s, s.StreamURL()+"?b=2&a=1&a=%2F")
	_ = c.ws.Close()
	got := s.Stats().Requests
	if len(got) != 1 || got[0].URI != "/a/secret?b=2&a=1&a=%2F" || got[0].Host != s.Addr() {
		t.Fatalf("requests = %+v, want the URI as it was sent", got)
	}
	if !strings.HasPrefix(got[0].Head, "GET /a/secret?b=2&a=1&a=%2F HTTP/1.1\r\n") ||
		!bytes.HasSuffix([]byte(got[0].Head), []byte("\r\n\r\n")) {
		t.Errorf("head = %q", got[0].Head)
	}
	if got[0].Header.Get("Sec-Websocket-Version") != "13" {
		t.Errorf("header = %v", got[0].Header)
	}
}
