package app

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// everyCarrier is what a URL's flags may be, with the protocol that must serve them.
var everyCarrier = []struct{ flag, proto string }{
	{"connect=1", "HTTP/1.1"}, // no flag of ours: the server gets it
	{"h2=only", "HTTP/2.0"},
	{"h2=1", "HTTP/2.0"},
	{"h3=only", "HTTP/3.0"},
	{"h3=1", "HTTP/3.0"},
}

// startCarriers runs a server of all protocols, and the program with one flag in front of it.
func startCarriers(t *testing.T, flag string) (*outlinetest.Server, *client) {
	t.Helper()
	s := startServer(t, outlinetest.Config{
		Protocols: outlinetest.HTTP1 | outlinetest.HTTP2 | outlinetest.HTTP3,
	})
	e := strings.NewReplacer(`/tcp"`, "/tcp?"+flag+`"`, `/udp"`, "/udp?"+flag+`"`).Replace(entry(t, s))
	return s, startClient(t, "127.0.0.1:0", "upstreams:\n"+e)
}

func TestEveryCarrierCarriesEverything(t *testing.T) {
	for _, tt := range everyCarrier {
		t.Run(tt.flag, func(t *testing.T) {
			s, c := startCarriers(t, tt.flag)
			target, err := outlinetest.StartHTTP("")
			web := startTarget(t, target, err)
			target, err = outlinetest.StartUDPEcho("")
			echo := startTarget(t, target, err)
			download(t, c, web.Addr())
			upload(t, c, web.Addr())
			datagrams(t, c, echo.Addr(), 1<<20)
			for _, r := range s.Stats().Requests {
				if r.Proto != tt.proto {
					t.Errorf("request over %s, want %s", r.Proto, tt.proto)
				}
			}
		})
	}
}

func TestEveryCarrierPassesHalfCloses(t *testing.T) {
	for _, tt := range everyCarrier {
		t.Run(tt.flag, func(t *testing.T) {
			_, c := startCarriers(t, tt.flag)
			target, err := outlinetest.StartSink("", size)
			conn := connect(t, c, startTarget(t, target, err).Addr())
			if _, err := io.WriteString(conn, "request"); err != nil {
				t.Fatal(err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			wantPattern(t, conn, size)

			target, err = outlinetest.StartGreeter("", 1000)
			greeter := startTarget(t, target, err)
			conn = connect(t, c, greeter.Addr())
			wantPattern(t, conn, 1000)
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

func TestEveryCarrierBreaksVisibly(t *testing.T) {
	for _, tt := range everyCarrier {
		for name, end := range map[string]outlinetest.End{
			"cut": outlinetest.EndCut, "reset": outlinetest.EndReset, "fin": outlinetest.EndFIN,
		} {
			t.Run(tt.flag+"/"+name, func(t *testing.T) {
				s, c := startCarriers(t, tt.flag)
				if err := s.SetFault(outlinetest.Fault{End: end, After: 100_000}); err != nil {
					t.Fatal(err)
				}
				target, err := outlinetest.StartGreeter("", size)
				conn := connect(t, c, startTarget(t, target, err).Addr())
				if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("read = %v, want a reset", err)
				}
			})
		}
	}
}

// TestConnectionKilledUnderFlows cuts what two hundred flows share: all of them see it, and new ones work.
func TestConnectionKilledUnderFlows(t *testing.T) {
	const flows = 200
	for _, flag := range []string{"h2=only", "h3=only"} {
		t.Run(flag, func(t *testing.T) {
			s, c := startCarriers(t, flag)
			target, err := outlinetest.StartEcho("")
			echo := startTarget(t, target, err)
			var conns []io.ReadWriter
			for i := range flows {
				conn := connect(t, c, echo.Addr())
				ask(t, conn, fmt.Sprint("flow ", i))
				conns = append(conns, conn)
			}
			s.CutAll()
			for i, conn := range conns {
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Fatalf("flow %d: read = %v, want a reset", i, err)
				}
			}
			ask(t, connect(t, c, echo.Addr()), "afterwards")
		})
	}
}

// TestForgottenConnection has a network forget the connection that flows share, without a word. The next flow
// must not wait until that is found dead.
func TestForgottenConnection(t *testing.T) {
	for _, flag := range []string{"h2=only", "h3=only"} {
		t.Run(flag, func(t *testing.T) {
			s, c := startCarriers(t, flag)
			target, err := outlinetest.StartEcho("")
			echo := startTarget(t, target, err)
			frozen := connect(t, c, echo.Addr())
			defer transport.Abort(frozen) // so that nothing waits for an answer to its end
			ask(t, frozen, "before")
			s.FreezeAll()
			began := time.Now()
			ask(t, connect(t, c, echo.Addr()), "after")
			// A second or two of doubt and a handshake; a connection is given up for dead after ten.
			took := time.Since(began)
			t.Logf("the next flow took %v", took)
			if took > 6*time.Second {
				t.Error("that is too long")
			}
		})
	}
}

// TestTrickyServers moves bytes both ways while the server has small windows, pings all the time and sends
// every connection away soon: nothing is lost, and no flow breaks.
func TestTrickyServers(t *testing.T) {
	for _, flag := range []string{"h2=only", "h3=only"} {
		for name, mux := range map[string]outlinetest.Mux{
			"small windows":       {Window: 64 << 10, ConnWindow: 64 << 10},
			"pings":               {PingEvery: 10 * time.Millisecond},
			"goes away":           {GoAwayEvery: 200 * time.Millisecond},
			"window that shrinks": {ShrinkAfter: 1 << 20, ShrinkTo: 1000},
		} {
			t.Run(flag+"/"+name, func(t *testing.T) {
				t.Parallel()
				s, c := startCarriers(t, flag)
				if err := s.SetFault(outlinetest.Fault{Mux: mux}); err != nil {
					t.Fatal(err)
				}
				target, err := outlinetest.StartHTTP("")
				web := startTarget(t, target, err)
				for until := time.Now().Add(time.Second); time.Now().Before(until); {
					download(t, c, web.Addr())
					upload(t, c, web.Addr())
				}
			})
		}
	}
}
