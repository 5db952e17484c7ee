package outlinetest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// moment is what a test waits to see that nothing happens.
const moment = 50 * time.Millisecond

func set(t *testing.T, s *outlinetest.Server, f outlinetest.Fault) {
	t.Helper()
	if err := s.SetFault(f); err != nil {
		t.Fatal(err)
	}
}

func TestOpeningFaults(t *testing.T) {
	rows := []struct {
		name  string
		fault outlinetest.Fault
		want  func(response *http.Response, err error) bool
	}{
		{"refuse", outlinetest.Fault{Stage: outlinetest.RefuseTCP}, func(_ *http.Response, err error) bool {
			return errors.Is(err, syscall.ECONNREFUSED)
		}},
		{"reset", outlinetest.Fault{Stage: outlinetest.ResetTCP}, func(_ *http.Response, err error) bool {
			return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
		}},
		{"stall TLS", outlinetest.Fault{Stage: outlinetest.StallTLS}, isTimeout},
		{"stall HTTP", outlinetest.Fault{Stage: outlinetest.StallHTTP}, isTimeout},
		{"freeze", outlinetest.Fault{Freeze: true}, isTimeout},
		{"slow", outlinetest.Fault{ReadRate: 100}, isTimeout},
		{"status", outlinetest.Fault{Status: 503}, func(r *http.Response, err error) bool {
			body, readErr := io.ReadAll(r.Body)
			return err != nil && r.StatusCode == 503 && len(body) > 0 && readErr == nil
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			echo := run(t)(outlinetest.StartEcho(""))
			s := start(t, outlinetest.Config{})
			set(t, s, row.fault)
			trust := &tls.Config{RootCAs: s.CertPool()}
			d := websocket.Dialer{HandshakeTimeout: 3 * moment, TLSClientConfig: trust}
			_, response, err := d.DialContext(t.Context(), s.StreamURL(), nil)
			if !row.want(response, err) {
				t.Errorf("dial with a fault = %v", err)
			}
			set(t, s, outlinetest.Fault{})
			c := mustDial(t, s, s.StreamURL())
			c.open(echo.Addr(), "x")
			c.readN(1)
		})
	}
}

func isTimeout(_ *http.Response, err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

func TestFaultOnOneEndpoint(t *testing.T) {
	s := start(t, outlinetest.Config{})
	set(t, s, outlinetest.Fault{On: outlinetest.PacketEndpoint, Status: 403})
	mustDial(t, s, s.StreamURL())
	if _, r, err := dial(t, s, s.PacketURL()); err == nil || r.StatusCode != 403 {
		t.Errorf("dial packet endpoint = %v, want status 403", err)
	}
}

// quiet checks that nothing comes from the server for a moment.
func quiet(t *testing.T, c *client) {
	t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(moment))
	if n, err := c.Read(make([]byte, 1)); !isTimeout(nil, err) {
		t.Errorf("read = %d, %v, want silence", n, err)
	}
}

func TestSilentFaults(t *testing.T) {
	received := func(st outlinetest.Stats) int { return int(st.Received) }
	rows := []struct {
		name  string
		stage outlinetest.Stage
		fact  func(outlinetest.Stats) int
		want  int
	}{
		{"stall opened", outlinetest.StallOpened, received, 0},
		{"wrong secret", outlinetest.WrongSecret, func(st outlinetest.Stats) int { return st.BadStreams }, 1},
		{"blackhole", outlinetest.Blackhole, received, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			echo := run(t)(outlinetest.StartEcho(""))
			s := start(t, outlinetest.Config{})
			set(t, s, outlinetest.Fault{Stage: row.stage})
			c := mustDial(t, s, s.StreamURL())
			c.open(echo.Addr(), "hello")
			wait(t, s, func(st outlinetest.Stats) bool { return row.fact(st) == row.want })
			quiet(t, c)
			if got := s.Stats(); len(got.Targets) != 0 || got.Open != 1 {
				t.Errorf("targets = %q, open = %d, want none, 1", got.Targets, got.Open)
			}
		})
	}
}

func TestWrongSecretForPackets(t *testing.T) {
	s := start(t, outlinetest.Config{})
	set(t, s, outlinetest.Fault{Stage: outlinetest.WrongSecret})
	c := mustDial(t, s, s.PacketURL())
	c.send(c.packet("127.0.0.1:9", []byte("x")))
	if _, err := c.answer(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("answer = %v, want a Close frame with 1000", err)
	}
}

func TestFramings(t *testing.T) {
	const size = 40_000
	rows := []struct {
		name    string
		framing outlinetest.Framing
		good    bool
	}{
		{"fragmented", outlinetest.Fragmented, true},
		{"tiny", outlinetest.Tiny, true},
		{"masked", outlinetest.Masked, false},
		{"text", outlinetest.Text, false},
		{"own", func([]byte) []byte { return []byte{0xF2, 0} }, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			sink := run(t)(outlinetest.StartSink("", size))
			s := start(t, outlinetest.Config{})
			set(t, s, outlinetest.Fault{Framing: row.framing})
			c := mustDial(t, s, s.StreamURL())
			c.open(sink.Addr(), "")
			c.closeWrite()
			got, err := c.readAll()
			if good := err == nil && hexSum(got) == outlinetest.PatternSHA256(size); good != row.good {
				t.Errorf("answer = %d bytes, %v, want good = %v", len(got), err, row.good)
			}
		})
	}
}

func TestFragmentedPacket(t *testing.T) {
	echo := run(t)(outlinetest.StartUDPEcho(""))
	s := start(t, outlinetest.Config{})
	set(t, s, outlinetest.Fault{Framing: outlinetest.Fragmented})
	c := mustDial(t, s, s.PacketURL())
	c.send(c.packet(echo.Addr(), []byte("hello")))
	if got, err := c.answer(); err != nil || string(got[7:]) != "hello" {
		t.Errorf("answer = %q, %v, want hello", got, err)
	}
}

func TestNoPong(t *testing.T) {
	s := start(t, outlinetest.Config{})
	set(t, s, outlinetest.Fault{NoPong: true})
	c := mustDial(t, s, s.StreamURL())
	c.ws.SetPongHandler(func(string) error { t.Error("a pong came"); return nil })
	_ = c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience))
	wait(t, s, func(st outlinetest.Stats) bool { return st.Pings == 1 })
	quiet(t, c)
}

func TestDelay(t *testing.T) {
	const delay = 60 * time.Millisecond
	echo := run(t)(outlinetest.StartSink("", 1<<20))
	s := start(t, outlinetest.Config{})
	set(t, s, outlinetest.Fault{Delay: delay})
	began := time.Now()
	c := mustDial(t, s, s.StreamURL())
	if took := time.Since(began); took < delay {
		t.Errorf("opening took %v, want at least %v", took, delay)
	}
	began = time.Now()
	c.open(echo.Addr(), "x")
	c.closeWrite()
	got, err := c.readAll()
	if err != nil || len(got) != 1<<20 {
		t.Fatalf("answer = %d bytes, %v", len(got), err)
	}
	// 64 chunks, one round trip.
	if took := time.Since(began); took < delay || took > 30*delay {
		t.Errorf("answer took %v, want a little more than %v", took, delay)
	}
}

func TestSlowReads(t *testing.T) {
	const rate = 200_000
	echo := run(t)(outlinetest.StartSink("", 0))
	s := start(t, outlinetest.Config{Plain: true})
	set(t, s, outlinetest.Fault{ReadRate: rate})
	c := mustDial(t, s, s.StreamURL())
	began := time.Now()
	c.open(echo.Addr(), "")
	if err := c.write(make([]byte, rate/5)); err != nil {
		t.Fatal(err)
	}
	c.closeWrite()
	if _, err := c.readAll(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < time.Second/5 {
		t.Errorf("%d bytes at %d/s took %v", rate/5, rate, took)
	}
}

func TestFreeze(t *testing.T) {
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(echo.Addr(), "before")
	c.readN(len("before"))
	set(t, s, outlinetest.Fault{Freeze: true})
	if err := c.write([]byte("during")); err != nil {
		t.Fatal(err)
	}
	tcp := c.ws.NetConn()
	_ = tcp.SetReadDeadline(time.Now().Add(moment))
	if _, err := tcp.Read(make([]byte, 1)); !isTimeout(nil, err) {
		t.Fatalf("read while frozen = %v, want silence", err)
	}
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	set(t, s, outlinetest.Fault{})
	if got := c.readN(len("during")); string(got) != "during" {
		t.Errorf("after the thaw = %q, want %q", got, "during")
	}
}

func TestCutAll(t *testing.T) {
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(echo.Addr(), "x")
	c.readN(1)
	s.CutAll()
	if _, err := c.readAll(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("end = %v, want %v", err, syscall.ECONNRESET)
	}
	wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
	mustDial(t, s, s.StreamURL())
}

func TestCloseAll(t *testing.T) {
	echo := run(t)(outlinetest.StartEcho(""))
	s := start(t, outlinetest.Config{})
	c := mustDial(t, s, s.StreamURL())
	c.open(echo.Addr(), "x")
	c.readN(1)
	s.CloseAll(1012)
	if _, err := c.readAll(); err != nil || c.code != 1012 {
		t.Errorf("end = %v, code %d, want nil, 1012", err, c.code)
	}
	c.closeWrite()
	wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
}

// Close does not wait for anything that is stuck.
func TestCloseIsFast(t *testing.T) {
	stages := map[string]outlinetest.Fault{
		"none":         {},
		"stall TLS":    {Stage: outlinetest.StallTLS},
		"stall HTTP":   {Stage: outlinetest.StallHTTP},
		"stall opened": {Stage: outlinetest.StallOpened},
		"wrong secret": {Stage: outlinetest.WrongSecret},
		"blackhole":    {Stage: outlinetest.Blackhole},
		"freeze":       {Freeze: true},
		"slow":         {ReadRate: 1},
		"delay":        {Delay: time.Hour},
		"hold":         {End: outlinetest.EndHold},
	}
	for name, fault := range stages {
		t.Run(name, func(t *testing.T) {
			echo := run(t)(outlinetest.StartEcho(""))
			s := start(t, outlinetest.Config{})
			set(t, s, fault)
			done := make(chan struct{})
			go func() {
				defer close(done)
				c, _, err := dial(t, s, s.StreamURL())
				if err == nil {
					_ = c.write(append(socksAddr(echo.Addr()), 'x'))
					_, _ = c.readAll()
				}
			}()
			wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 1 })
			began := time.Now()
			_ = s.Close()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("Close took %v", took)
			}
			<-done
		})
	}
}
