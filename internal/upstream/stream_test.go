package upstream_test

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	large = 10 << 20
	small = 1 << 20
)

// The target answers only after the end of our half: a complete upload, a half-close and a complete download.
func TestStreamHalfClose(t *testing.T) {
	sizes := []int64{large, small} // IPv4, IPv6
	for i, addr := range loopbacks(t) {
		for _, cipher := range ciphers {
			s := startServer(t, outlinetest.Config{Addr: addr, Cipher: cipher})
			for _, way := range ways {
				size := sizes[i]
				if way.name == "plain" {
					size = small // the program always relays
				}
				t.Run(fmt.Sprintf("%s %s %s", way.name, cipher, addr), func(t *testing.T) {
					sink, err := outlinetest.StartSink(addr, size)
					sink = target(t, sink, err)
					conn := way.dial(t, open(t, s), sink.Addr())
					if err := upload(conn, size); err != nil {
						t.Fatal(err)
					}
					wantUpload(t, sink, size)
					wantPattern(t, conn, size)
				})
			}
		}
	}
}

// The target ends its half first, and the client can still upload.
func TestStreamServerFirst(t *testing.T) {
	greeter, err := outlinetest.StartGreeter("", 1<<20)
	greeter = target(t, greeter, err)
	s := startServer(t, outlinetest.Config{})
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			conn := way.dial(t, open(t, s), greeter.Addr())
			wantPattern(t, conn, 1<<20)
			if err := upload(conn, 1<<20); err != nil {
				t.Fatal(err)
			}
			wantUpload(t, greeter, 1<<20)
		})
	}
}

func TestStreamOverPlainWebSocket(t *testing.T) {
	sink, err := outlinetest.StartSink("", 1000)
	sink = target(t, sink, err)
	s := startServer(t, outlinetest.Config{Plain: true})
	conn := relayTo(t, open(t, s), sink.Addr())
	if err := upload(conn, 1<<20); err != nil {
		t.Fatal(err)
	}
	wantUpload(t, sink, 1<<20)
	wantPattern(t, conn, 1000)
}

// Targets that are names go to the server as names.
func TestStreamTargetByName(t *testing.T) {
	echo, err := outlinetest.StartEcho("")
	echo = target(t, echo, err)
	s := startServer(t, outlinetest.Config{Hosts: map[string]string{"example.test:7": echo.Addr()}})
	conn := dialTo(t, open(t, s), "example.test:7")
	wantEcho(t, conn, "by name")
	if got := s.Stats().Targets; len(got) != 1 || got[0] != "example.test:7" {
		t.Errorf("server was asked for %v, want example.test:7", got)
	}
}

// wantEcho demands an echo of text and a clean end.
func wantEcho(t *testing.T, conn transport.StreamConn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != text {
		t.Errorf("echo = %q, %v, want %q", got, err, text)
	}
}

// Wire forms that are unusual and allowed.
func TestStreamFraming(t *testing.T) {
	rows := map[string]outlinetest.Framing{"fragmented": outlinetest.Fragmented, "tiny": outlinetest.Tiny}
	for name, framing := range rows {
		t.Run(name, func(t *testing.T) {
			sink, err := outlinetest.StartSink("", 200_000)
			sink = target(t, sink, err)
			s := startServer(t, outlinetest.Config{})
			if err := s.SetFault(outlinetest.Fault{Framing: framing}); err != nil {
				t.Fatal(err)
			}
			conn := relayTo(t, open(t, s), sink.Addr())
			if err := upload(conn, 100); err != nil {
				t.Fatal(err)
			}
			wantPattern(t, conn, 200_000)
		})
	}
}

func TestStreamsConcurrently(t *testing.T) {
	const flows, size = 60, 100_000
	echo, err := outlinetest.StartEcho("")
	echo = target(t, echo, err)
	s := startServer(t, outlinetest.Config{})
	u := open(t, s)
	var all sync.WaitGroup
	defer all.Wait()
	for i := range flows {
		conn := ways[i%len(ways)].dial(t, u, echo.Addr())
		want := bytes.Repeat([]byte{byte(i)}, size)
		all.Go(func() {
			if _, err := conn.Write(want); err != nil {
				t.Errorf("flow %d: write: %v", i, err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Errorf("flow %d: close write: %v", i, err)
			}
		})
		all.Go(func() {
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, want) {
				t.Errorf("flow %d: echo of %d bytes, %v, want %d", i, len(got), err, len(want))
			}
		})
	}
}

// A normal end leaves nothing on the server, and each client says goodbye with a Close frame.
func TestStreamLeavesNothing(t *testing.T) {
	echo, err := outlinetest.StartEcho("")
	echo = target(t, echo, err)
	s := startServer(t, outlinetest.Config{})
	for range 3 {
		wantEcho(t, relayTo(t, open(t, s), echo.Addr()), "hello")
	}
	err = s.Wait(t.Context(), func(stats outlinetest.Stats) bool {
		return stats.Handshakes == 3 && stats.Open == 0
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Stats().Closings {
		if c.Code != 1000 {
			t.Errorf("client closed with code %d, want 1000", c.Code)
		}
	}
}
