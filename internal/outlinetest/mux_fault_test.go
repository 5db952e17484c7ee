package outlinetest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestMuxEnds(t *testing.T) {
	const after = 100_000
	rows := []struct {
		name  string
		fault outlinetest.Fault
		code  int // of the Close frame; 0 for none
	}{
		{"cut", outlinetest.Fault{End: outlinetest.EndCut}, 0},
		{"reset", outlinetest.Fault{End: outlinetest.EndReset}, 0},
		{"FIN", outlinetest.Fault{End: outlinetest.EndFIN}, 0},
		{"code", outlinetest.Fault{End: outlinetest.EndCode, Code: 1011}, 1011},
		{"hold", outlinetest.Fault{End: outlinetest.EndHold}, 1000},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
				sink := run(t)(outlinetest.StartSink("", 2*after))
				row.fault.After = after
				set(t, s, row.fault)
				c := mustDialOver(t, s, open, s.StreamURL())
				c.open(sink.Addr(), "request")
				c.send(nil) // the end, without a Close frame
				got, err := c.readAll()
				if clean := err == nil; clean != (row.code != 0) || c.code != row.code {
					t.Errorf("end = %v, code %d, want code %d", err, c.code, row.code)
				}
				// A reset may overtake what was in flight.
				if reset := row.name == "reset"; len(got) > after || !reset && len(got) != after {
					t.Errorf("bytes before the end = %d, want %d", len(got), after)
				}
				if st := s.Stats(); row.name == "hold" && st.Live != 1 {
					t.Errorf("live = %d, want 1 until the client closes", st.Live)
				}
				_ = c.ws.Close()
				wait(t, s, idle)
				// The connection is not harmed.
				set(t, s, outlinetest.Fault{})
				mustDialOver(t, s, open, s.StreamURL())
			})
		})
	}
}

func TestMuxSilentFaults(t *testing.T) {
	rows := []struct {
		name  string
		fault outlinetest.Fault
		fact  func(outlinetest.Stats) bool
	}{
		{
			"stall opened",
			outlinetest.Fault{Stage: outlinetest.StallOpened},
			func(st outlinetest.Stats) bool { return st.Handshakes == 1 },
		},
		{
			"wrong secret",
			outlinetest.Fault{Stage: outlinetest.WrongSecret},
			func(st outlinetest.Stats) bool { return st.BadStreams == 1 },
		},
		{
			"blackhole",
			outlinetest.Fault{Stage: outlinetest.Blackhole},
			func(st outlinetest.Stats) bool { return st.Received == 1 },
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
				echo := run(t)(outlinetest.StartEcho(""))
				set(t, s, row.fault)
				c := mustDialOver(t, s, open, s.StreamURL())
				c.open(echo.Addr(), "hello")
				wait(t, s, row.fact)
				quiet(t, c)
				// Other flows of the connection go on.
				set(t, s, outlinetest.Fault{})
				other := mustDialOver(t, s, open, s.StreamURL())
				other.open(echo.Addr(), "x")
				other.readN(1)
			})
		})
	}
}

func TestMuxStallHTTP(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		set(t, s, outlinetest.Fault{Stage: outlinetest.StallHTTP})
		done := make(chan error, 1)
		go func() {
			_, _, err := open(t.Context(), s.StreamURL(), nil)
			done <- err
		}()
		wait(t, s, func(st outlinetest.Stats) bool { return len(st.Requests) == 1 })
		select {
		case err := <-done:
			t.Errorf("open = %v, want no answer", err)
		case <-time.After(moment):
		}
		s.CutAll()
		if err := <-done; err == nil {
			t.Error("open = nil after CutAll")
		}
	})
}

func TestMuxFramingAndPongs(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		echo := run(t)(outlinetest.StartEcho(""))
		set(t, s, outlinetest.Fault{Framing: outlinetest.Fragmented, NoPong: true})
		c := mustDialOver(t, s, open, s.StreamURL())
		c.ws.SetPongHandler(func(data string) error {
			if data != "between" {
				t.Errorf("pong %q came", data)
			}
			return nil
		})
		_ = c.ws.WriteControl(websocket.PingMessage, []byte("p"), time.Now().Add(patience))
		c.open(echo.Addr(), "hello")
		c.readN(5)
		wait(t, s, func(st outlinetest.Stats) bool { return st.Pings == 1 })
		s.PingAll("you")
		c.open(echo.Addr(), "x") // makes the client read
		c.readN(1)
		wait(t, s, func(st outlinetest.Stats) bool { return st.Pongs == 1 })
	})
}

func TestMuxNoConnect(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, _ opener) {
		set(t, s, outlinetest.Fault{Mux: outlinetest.Mux{NoConnect: true}})
		for _, connect := range carriers {
			if connect.protocols&serves(t, s) == 0 {
				continue
			}
			conn, _, err := connect.connect(t, s)(t.Context(), s.StreamURL(), nil)
			if err == nil {
				_ = conn.Close()
				t.Error("open without extended CONNECT = nil error")
			}
		}
		if got := s.Stats().Requests; len(got) != 0 {
			t.Errorf("requests = %+v, want none", got)
		}
	})
}

// serves is what a server speaks besides HTTP/1.1.
func serves(t *testing.T, s *outlinetest.Server) outlinetest.Protocols {
	t.Helper()
	if s.Stats().Mux.QUIC > 0 {
		return outlinetest.HTTP3
	}
	return outlinetest.HTTP2
}

func TestNoH2InALPN(t *testing.T) {
	s := start(t, outlinetest.Config{Protocols: outlinetest.HTTP1 | outlinetest.HTTP2})
	dial := func(names ...string) (string, error) {
		conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: s.CertPool(), NextProtos: names})
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return conn.ConnectionState().NegotiatedProtocol, nil
	}
	if got, err := dial("h2", "http/1.1"); got != "h2" || err != nil {
		t.Errorf("protocol = %q, %v, want h2", got, err)
	}
	set(t, s, outlinetest.Fault{Mux: outlinetest.Mux{NoH2: true}})
	if got, err := dial("h2", "http/1.1"); got != "http/1.1" || err != nil {
		t.Errorf("protocol with the fault = %q, %v, want http/1.1", got, err)
	}
	if _, err := dial("h2"); err == nil {
		t.Error("h2 alone with the fault = nil error")
	}
}

func TestMuxRefuse(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		echo := run(t)(outlinetest.StartEcho(""))
		set(t, s, outlinetest.Fault{Mux: outlinetest.Mux{RefuseEvery: 2}})
		for i := range 6 {
			// The library for HTTP/2 tries a refused stream again by itself, unless it has a body.
			c, err := dialOver(t, s, open, s.StreamURL())
			if refused := i%2 == 1; refused != (err != nil) {
				t.Fatalf("stream %d = %v, want refused = %v", i, err, refused)
			}
			if err == nil {
				c.open(echo.Addr(), "x")
				c.readN(1)
			}
		}
	})
}

// A connection that is told to go away keeps its streams, takes no new ones, and ends after the last.
func TestMuxGoAway(t *testing.T) {
	const size = 3 << 20
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		sink := run(t)(outlinetest.StartSink("", size))
		c := mustDialOver(t, s, open, s.StreamURL())
		c.open(sink.Addr(), "")
		set(t, s, outlinetest.Fault{Mux: outlinetest.Mux{GoAwayEvery: time.Millisecond}})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			conn, _, err := open(ctx, s.StreamURL(), nil)
			if err != nil {
				break
			}
			_ = conn.Close()
		}
		if ctx.Err() != nil {
			t.Fatal("new streams are opened after GOAWAY")
		}
		data, _ := io.ReadAll(outlinetest.Pattern(size))
		if err := c.write(data); err != nil {
			t.Fatal(err)
		}
		c.closeWrite()
		if got, err := c.readAll(); err != nil || hexSum(got) != outlinetest.PatternSHA256(size) {
			t.Errorf("answer = %d bytes, %v, want the pattern of %d", len(got), err, size)
		}
		if up := upload(t, sink); up.Err != nil || up.SHA256 != outlinetest.PatternSHA256(size) {
			t.Errorf("upload = %+v, want the pattern of %d", up, size)
		}
		_ = c.ws.Close()
		wait(t, s, idle)
		if serves(t, s) == outlinetest.HTTP2 {
			wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
		}
	})
}

func TestMuxMaxStreams(t *testing.T) {
	s := start(t, outlinetest.Config{Protocols: outlinetest.HTTP3})
	set(t, s, outlinetest.Fault{Mux: outlinetest.Mux{MaxStreams: 2}})
	open := connectH3(t, s)
	for range 2 {
		mustDialOver(t, s, open, s.StreamURL())
	}
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	if _, _, err := open(ctx, s.StreamURL(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("third stream = %v, want %v", err, context.DeadlineExceeded)
	}
}
