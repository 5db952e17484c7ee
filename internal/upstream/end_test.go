package upstream_test

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// What was cut never looks complete: an error from the stream, a reset for the application.
func TestStreamCuts(t *testing.T) {
	rows := []struct {
		name  string
		fault outlinetest.Fault
	}{
		{"cut at the start", outlinetest.Fault{End: outlinetest.EndCut}},
		{"cut in a chunk", outlinetest.Fault{End: outlinetest.EndCut, After: 100_000}},
		{"reset in a chunk", outlinetest.Fault{End: outlinetest.EndReset, After: 100_000}},
		{"FIN between chunks", outlinetest.Fault{End: outlinetest.EndFIN, After: 100_000}},
		{"FIN at the start", outlinetest.Fault{End: outlinetest.EndFIN}},
		{"close code 1011", outlinetest.Fault{End: outlinetest.EndCode, Code: 1011, After: 100_000}},
		{"close code 1011 at the start", outlinetest.Fault{End: outlinetest.EndCode, Code: 1011}},
		{"close code 4000", outlinetest.Fault{End: outlinetest.EndCode, Code: 4000, After: 16_383}},
	}
	for _, row := range rows {
		for _, way := range ways {
			t.Run(row.name+" "+way.name, func(t *testing.T) {
				conn := dialFaulty(t, row.fault, way.dial)
				n, err := io.Copy(io.Discard, struct{ io.Reader }{conn})
				if err == nil || n > row.fault.After {
					t.Fatalf("read = %d bytes, %v, want at most %d and an error", n, err, row.fault.After)
				}
				if way.name == "relayed" && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("application's read ended with %v, want %v", err, syscall.ECONNRESET)
				}
			})
		}
	}
}

// dialFaulty opens a stream to a sink of 1 MiB through a server with a fault, with the upload done.
func dialFaulty(t *testing.T, f outlinetest.Fault, dial dialFunc) transport.StreamConn {
	t.Helper()
	sink, err := outlinetest.StartSink("", 1<<20)
	sink = target(t, sink, err)
	s := startServer(t, outlinetest.Config{})
	if err := s.SetFault(f); err != nil {
		t.Fatal(err)
	}
	c := dial(t, open(t, s), sink.Addr())
	if err := upload(c, 1000); err != nil {
		t.Fatal(err)
	}
	return c
}

// Codes that mean a clean end.
func TestStreamCleanEnds(t *testing.T) {
	rows := []struct {
		name  string
		fault outlinetest.Fault
	}{
		{"code 1000", outlinetest.Fault{End: outlinetest.EndCode, Code: 1000, After: 100_000}},
		{"code 1001", outlinetest.Fault{End: outlinetest.EndCode, Code: 1001, After: 100_000}},
		{"no code", outlinetest.Fault{End: outlinetest.EndCode, Code: 1005, After: 100_000}},
		{"TCP held open", outlinetest.Fault{End: outlinetest.EndHold, After: 100_000}},
	}
	for _, row := range rows {
		for _, way := range ways {
			t.Run(row.name+" "+way.name, func(t *testing.T) {
				wantPattern(t, dialFaulty(t, row.fault, way.dial), row.fault.After)
			})
		}
	}
}

// The server drains what it cannot decrypt, then hangs up.
func TestStreamWrongSecret(t *testing.T) {
	t.Parallel() // it mostly waits
	echo, err := outlinetest.StartEcho("")
	echo = target(t, echo, err)
	s := startServer(t, outlinetest.Config{DrainTimeout: short})
	wrong := startServer(t, outlinetest.Config{Secret: "another secret"})
	key := func(c *upstream.Config) {
		cipher, err := shadowsocks.ParseCipher(s.Cipher())
		if err != nil {
			t.Fatal(err)
		}
		if c.Key, err = shadowsocks.NewKey(cipher, wrong.Secret()); err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			conn := way.dial(t, open(t, s, key), echo.Addr())
			wantNoAnswer(t, conn, way.name)
		})
	}
}

// wantNoAnswer demands that the stream ends with *NoAnswerError soon, and with a reset for an application.
func wantNoAnswer(t *testing.T, conn io.ReadWriter, way string) {
	t.Helper()
	start := time.Now()
	if _, err := conn.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(make([]byte, 100))
	if _, ok := errors.AsType[*shadowsocks.NoAnswerError](err); n != 0 || ok != (way == "plain") {
		t.Errorf("%s read = %d, %v, want *NoAnswerError", way, n, err)
	}
	if way != "plain" && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("application's read = %d, %v, want %v", n, err, syscall.ECONNRESET)
	}
	if took := time.Since(start); took > patience/4 {
		t.Errorf("error after %v, want it soon", took)
	}
}

func TestStreamTargetRefuses(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			wantNoAnswer(t, way.dial(t, open(t, s), closedPort(t)), way.name)
		})
	}
}

// A server that opens the WebSocket and then says nothing is found out by a ping.
func TestStalledAfterOpening(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startServer(t, outlinetest.Config{})
	if err := s.SetFault(outlinetest.Fault{Stage: outlinetest.StallOpened}); err != nil {
		t.Fatal(err)
	}
	u := open(t, s, func(c *upstream.Config) {
		c.WebSocket = websocket.Options{PingAfter: short, PongLimit: short}
	})
	wantDead := func(what string, read func([]byte) error) {
		t.Helper()
		start := time.Now()
		if err := read(make([]byte, 100)); !errors.Is(err, websocket.ErrPingTimeout) {
			t.Errorf("%s = %v, want %v", what, err, websocket.ErrPingTimeout)
		}
		if took := time.Since(start); took < short || took > patience/4 {
			t.Errorf("%s failed after %v, want about %v", what, took, 2*short)
		}
	}
	wantDead("Read", func(p []byte) error {
		_, err := dialTo(t, u, "127.0.0.1:1").Read(p)
		return err
	})
	wantDead("ReadFrom", func(p []byte) error {
		packets := listen(t, u)
		if _, err := packets.WriteTo(p, udpAddr(t, "127.0.0.1:1")); err != nil {
			return err
		}
		_, _, err := packets.ReadFrom(p)
		return err
	})
}

// A server that stops in the middle of a download is found out, too.
func TestFrozenDuringDownload(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startServer(t, outlinetest.Config{})
	u := open(t, s, func(c *upstream.Config) {
		c.WebSocket = websocket.Options{PingAfter: short, PongLimit: short}
	})
	greeter, err := outlinetest.StartGreeter("", 64<<20)
	greeter = target(t, greeter, err)
	conn := relayTo(t, u, greeter.Addr())
	if _, err := io.ReadFull(conn, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := s.SetFault(outlinetest.Fault{Freeze: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{conn}); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("application's read of a frozen download ended with %v, want %v", err, syscall.ECONNRESET)
	}
}
