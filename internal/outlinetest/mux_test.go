package outlinetest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// idle says that no WebSocket is open.
func idle(st outlinetest.Stats) bool { return st.Live == 0 }

func TestMuxEcho(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		config := outlinetest.Config{Addr: addr}
		eachCarrier(t, config, func(t *testing.T, s *outlinetest.Server, open opener) {
			echo := run(t)(outlinetest.StartEcho(addr))
			c := mustDialOver(t, s, open, s.StreamURL())
			c.open(echo.Addr(), "hello, ")
			if err := c.write([]byte("world")); err != nil {
				t.Fatal(err)
			}
			c.closeWrite()
			got, err := c.readAll()
			if string(got) != "hello, world" || err != nil || c.code != 1000 {
				t.Errorf("echo = %q, %v, code %d, want %q, nil, 1000", got, err, c.code, "hello, world")
			}
			wait(t, s, idle)
			blameless(t, s)
		})
	}
}

// blameless checks that the server found nothing wrong with a client that is right.
func blameless(t *testing.T, s *outlinetest.Server) {
	t.Helper()
	if got := s.Stats().Mux.Violations; len(got) > 0 {
		t.Errorf("violations = %q, want none", got)
	}
}

func TestMuxPackets(t *testing.T) {
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		echo := run(t)(outlinetest.StartUDPEcho(""))
		c := mustDialOver(t, s, open, s.PacketURL())
		for i := range 200 {
			data := bytes.Repeat([]byte{byte(i)}, i*18) // up to what one read gets
			c.send(c.packet(echo.Addr(), data))
			want := append(socksAddr(echo.Addr()), data...)
			if got, err := c.answer(); !bytes.Equal(got, want) || err != nil {
				t.Fatalf("answer = %d bytes, %v, want %d", len(got), err, len(want))
			}
		}
		c.closeWrite()
		wait(t, s, idle)
	})
}

func TestMuxClientEndsFirst(t *testing.T) {
	const size = 3 << 20
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		sink := run(t)(outlinetest.StartSink("", size))
		c := mustDialOver(t, s, open, s.StreamURL())
		c.open(sink.Addr(), "request")
		c.closeWrite()
		got, err := c.readAll()
		if err != nil || hexSum(got) != outlinetest.PatternSHA256(size) {
			t.Errorf("answer = %d bytes, %v, want the pattern of %d", len(got), err, size)
		}
		if up := upload(t, sink); up.Size != int64(len("request")) || up.Err != nil {
			t.Errorf("upload = %+v, want 7 bytes and a clean end", up)
		}
		wait(t, s, idle)
		want := outlinetest.Closing{Endpoint: outlinetest.StreamEndpoint, Code: 1000}
		if got := s.Stats().Closings; len(got) != 1 || got[0] != want {
			t.Errorf("closings = %+v, want %+v", got, want)
		}
	})
}

func TestMuxServerEndsFirst(t *testing.T) {
	const size = 2 << 20
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		greeter := run(t)(outlinetest.StartGreeter("", 100))
		c := mustDialOver(t, s, open, s.StreamURL())
		c.open(greeter.Addr(), "")
		if got, err := c.readAll(); len(got) != 100 || err != nil || c.code != 1000 {
			t.Fatalf("greeting = %d bytes, %v, code %d, want 100, nil, 1000", len(got), err, c.code)
		}
		data, _ := io.ReadAll(outlinetest.Pattern(size))
		if err := c.write(data); err != nil {
			t.Fatal(err)
		}
		if live := s.Stats().Live; live != 1 {
			t.Errorf("live before our Close = %d, want 1", live)
		}
		c.closeWrite()
		want := outlinetest.Upload{Size: size, SHA256: outlinetest.PatternSHA256(size)}
		if up := upload(t, greeter); up != want {
			t.Errorf("upload = %+v, want the pattern of %d", up, size)
		}
		wait(t, s, idle)
	})
}

func TestMuxRequests(t *testing.T) {
	config := outlinetest.Config{StreamPath: "/a/secret"}
	const query = "?b=2&a=1&a=%2F"
	eachCarrier(t, config, func(t *testing.T, s *outlinetest.Server, open opener) {
		conn, _, err := open(t.Context(), s.StreamURL()+query, http.Header{"X-One": {"Two"}})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		requests := s.Stats().Requests
		if len(requests) != 1 {
			t.Fatalf("requests = %+v, want one", requests)
		}
		got, proto := requests[0], "HTTP/2.0"
		if serves(t, s) == outlinetest.HTTP3 {
			proto = "HTTP/3.0"
		}
		if got.URI != "/a/secret"+query || got.Host != s.Addr() || got.Proto != proto {
			t.Errorf("request = %+v, want the URI as it was sent, over %s", got, proto)
		}
		if got.Header.Get("X-One") != "Two" || got.Header.Get("Upgrade") != "" {
			t.Errorf("header = %v, want it as it was sent", got.Header)
		}
		for _, line := range []string{
			":method: CONNECT\r\n", ":path: /a/secret" + query + "\r\n", ":protocol: websocket\r\n",
			":authority: " + s.Addr() + "\r\n", "x-one: Two\r\n", "sec-websocket-version: 13\r\n",
		} {
			if !strings.Contains(got.Head, line) {
				t.Errorf("head = %q, want %q in it", got.Head, line)
			}
		}
	})
}

func TestMuxAnswers(t *testing.T) {
	foreign := http.Header{"Origin": {"https://example.org"}}
	rows := []struct {
		name, path string
		header     http.Header
		fault      outlinetest.Fault
		any        bool
		want       int
	}{
		{name: "good", path: "/tcp", want: 200},
		{name: "query", path: "/tcp?a=1", want: 200},
		{name: "other path", path: "/", want: 404},
		{name: "foreign origin", path: "/tcp", header: foreign, want: 403},
		{name: "any origin", path: "/tcp", header: foreign, any: true, want: 200},
		{name: "status", path: "/tcp", fault: outlinetest.Fault{Status: 503}, want: 503},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			config := outlinetest.Config{StreamPath: "/tcp", AnyOrigin: row.any}
			eachCarrier(t, config, func(t *testing.T, s *outlinetest.Server, open opener) {
				set(t, s, row.fault)
				conn, response, err := open(t.Context(), "https://"+s.Addr()+row.path, row.header)
				if err == nil {
					_ = conn.Close()
				}
				if response == nil || response.StatusCode != row.want {
					t.Errorf("response = %+v, %v, want status %d", response, err, row.want)
				}
				blameless(t, s)
			})
		})
	}
}

// narrow is a server and a client that have 64 KiB of each other's data in flight at most.
func narrow(t *testing.T, protocol string) (*outlinetest.Server, opener) {
	t.Helper()
	const window = 64 << 10
	s := start(t, outlinetest.Config{Protocols: carriers[protocol].protocols})
	set(t, s, outlinetest.Fault{Mux: outlinetest.Mux{Window: window, ConnWindow: window}})
	if protocol != "h2" {
		return s, connectH3(t, s)
	}
	return s, connectH2With(t, s, &http.HTTP2Config{MaxReceiveBufferPerStream: window})
}

func TestMuxLargeThroughNarrowWindows(t *testing.T) {
	const size = 10 << 20
	for name := range carriers {
		t.Run(name, func(t *testing.T) {
			echo := run(t)(outlinetest.StartEcho(""))
			s, open := narrow(t, name)
			c := mustDialOver(t, s, open, s.StreamURL())
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
			blameless(t, s)
		})
	}
}

// Many flows share a connection, of which some move much.
func TestMuxManyFlows(t *testing.T) {
	const flows = 300
	eachCarrier(t, outlinetest.Config{}, func(t *testing.T, s *outlinetest.Server, open opener) {
		echo := run(t)(outlinetest.StartEcho(""))
		bulk := bytes.Repeat([]byte("bulk "), 20_000)
		var all sync.WaitGroup
		for i := range flows {
			c := mustDialOver(t, s, open, s.StreamURL())
			all.Go(func() {
				want := fmt.Appendf(nil, "flow %d", i)
				if i%10 == 0 {
					want = bulk
				}
				uploaded := make(chan error, 1)
				go func() {
					err := c.write(append(socksAddr(echo.Addr()), want...))
					c.closeWrite()
					uploaded <- err
				}()
				if got, err := c.readAll(); !bytes.Equal(got, want) || err != nil {
					t.Errorf("echo = %d bytes, %v, want %d", len(got), err, len(want))
				}
				if err := <-uploaded; err != nil {
					t.Errorf("write: %v", err)
				}
			})
		}
		all.Wait()
		wait(t, s, idle)
		st := s.Stats()
		if st.Handshakes != flows || len(st.Closings) != flows || st.Accepted+st.Mux.QUIC != 1 {
			t.Errorf("handshakes, closings, connections = %d, %d, %d, want %d, %d, 1",
				st.Handshakes, len(st.Closings), st.Accepted+st.Mux.QUIC, flows, flows)
		}
		blameless(t, s)
	})
}
