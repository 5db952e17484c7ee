package outlinetest_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// startH2 is a server of HTTP/2 with a fault.
func startH2(t *testing.T, m outlinetest.Mux) *outlinetest.Server {
	t.Helper()
	s := start(t, outlinetest.Config{Protocols: outlinetest.HTTP2, DrainTimeout: patience})
	set(t, s, outlinetest.Fault{Mux: m})
	return s
}

func TestH2Settings(t *testing.T) {
	rows := []struct {
		name string
		mux  outlinetest.Mux
		want map[http2.SettingID]uint32
		conn uint32 // of the WINDOW_UPDATE that follows; 0 for none
	}{
		{"default", outlinetest.Mux{}, map[http2.SettingID]uint32{
			http2.SettingEnableConnectProtocol: 1,
			http2.SettingInitialWindowSize:     1 << 20,
			http2.SettingMaxConcurrentStreams:  4096,
		}, 1<<20 - 65535},
		{"no CONNECT", outlinetest.Mux{NoConnect: true}, map[http2.SettingID]uint32{
			http2.SettingInitialWindowSize:    1 << 20,
			http2.SettingMaxConcurrentStreams: 4096,
		}, 1<<20 - 65535},
		{"small", outlinetest.Mux{Window: 1000, ConnWindow: 1000, MaxStreams: 3}, map[http2.SettingID]uint32{
			http2.SettingEnableConnectProtocol: 1,
			http2.SettingInitialWindowSize:     1000,
			http2.SettingMaxConcurrentStreams:  3,
		}, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			greeting(t, newScript(t, startH2(t, row.mux)), row.want, row.conn)
		})
	}
}

// greeting checks the first frames of a server.
func greeting(t *testing.T, c *script, settings map[http2.SettingID]uint32, conn uint32) {
	t.Helper()
	f, ok := c.next().(*http2.SettingsFrame)
	if !ok || f.NumSettings() != len(settings) {
		t.Fatalf("first frame = %v, want SETTINGS with %v", f, settings)
	}
	for id, want := range settings {
		if got, ok := f.Value(id); got != want || !ok {
			t.Errorf("%v = %d, %v, want %d", id, got, ok, want)
		}
	}
	c.ok(c.framer.WriteSettings())
	if conn > 0 {
		update, ok := c.next().(*http2.WindowUpdateFrame)
		if !ok || update.StreamID != 0 || update.Increment != conn {
			t.Errorf("second frame = %v, want %d more for the connection", update, conn)
		}
	}
	if ack, ok := c.next().(*http2.SettingsFrame); !ok || !ack.IsAck() {
		t.Errorf("next frame = %v, want an acknowledgement", ack)
	}
}

func TestH2Pings(t *testing.T) {
	s := startH2(t, outlinetest.Mux{PingEvery: time.Millisecond})
	c := greeted(t, s)
	for range 3 {
		ping := await(c, func(f *http2.PingFrame) bool { return !f.IsAck() })
		c.ok(c.framer.WritePing(true, ping.Data))
	}
	wait(t, s, func(st outlinetest.Stats) bool { return st.Mux.PingAcks == 3 })
	mine := [8]byte{'m', 'i', 'n', 'e'}
	c.ok(c.framer.WritePing(false, mine))
	await(c, func(f *http2.PingFrame) bool { return f.IsAck() && f.Data == mine })

	set(t, s, outlinetest.Fault{Mux: outlinetest.Mux{NoPingAck: true}})
	c.ok(c.framer.WritePing(false, [8]byte{'l', 'o', 's', 't'}))
	wait(t, s, func(st outlinetest.Stats) bool { return st.Mux.Pings == 2 })
	set(t, s, outlinetest.Fault{})
	c.ok(c.framer.WritePing(false, mine))
	ack := await(c, func(f *http2.PingFrame) bool { return f.IsAck() })
	if ack.Data != mine {
		t.Errorf("acknowledged = %q, want %q", ack.Data, mine)
	}
}

// GOAWAY comes twice: first as a warning, then, after a round trip, with the last stream that is served.
func TestH2GoAway(t *testing.T) {
	s := startH2(t, outlinetest.Mux{})
	c := greeted(t, s)
	c.open(1)
	set(t, s, outlinetest.Fault{Mux: outlinetest.Mux{GoAwayEvery: time.Millisecond}})
	first := await[*http2.GoAwayFrame](c, nil)
	if first.LastStreamID != 1<<31-1 || first.ErrCode != http2.ErrCodeNo {
		t.Errorf("first GOAWAY = %v, want the largest stream and NO_ERROR", first)
	}
	ping := await(c, func(f *http2.PingFrame) bool { return !f.IsAck() })
	data := ping.Data
	c.open(3) // was on the way
	c.ok(c.framer.WritePing(true, data))
	last := await[*http2.GoAwayFrame](c, nil)
	if last.LastStreamID != 3 || last.ErrCode != http2.ErrCodeNo {
		t.Errorf("second GOAWAY = %v, want stream 3 and NO_ERROR", last)
	}
	c.headers(5, false, c.fields()) // is not answered
	for _, id := range []uint32{1, 3} {
		c.ok(c.framer.WriteData(id, false, []byte{0x88, 0x80, 0, 0, 0, 0})) // Close
		await(c, func(f *http2.DataFrame) bool { return f.StreamID == id && f.StreamEnded() })
	}
	for {
		f, err := c.framer.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		c.ok(err)
		if f.Header().StreamID == 5 {
			t.Errorf("answer for a stream after the last: %v", f)
		}
	}
	if got := len(s.Stats().Requests); got != 2 {
		t.Errorf("requests = %d, want 2", got)
	}
}

func TestH2Refuse(t *testing.T) {
	s := startH2(t, outlinetest.Mux{RefuseEvery: 2})
	c := greeted(t, s)
	c.open(1)
	c.headers(3, false, c.fields())
	if got := c.reset(3); got != http2.ErrCodeRefusedStream {
		t.Errorf("code = %v, want REFUSED_STREAM", got)
	}
	c.open(5)
	blameless(t, s)
}

func TestH2MaxStreams(t *testing.T) {
	s := startH2(t, outlinetest.Mux{MaxStreams: 2})
	c := greeted(t, s)
	c.open(1)
	c.open(3)
	c.headers(5, false, c.fields())
	if got := c.reset(5); got != http2.ErrCodeRefusedStream {
		t.Errorf("code of the third = %v, want REFUSED_STREAM", got)
	}
	c.ok(c.framer.WriteRSTStream(1, http2.ErrCodeCancel))
	c.open(7)
	st := s.Stats().Mux
	if len(st.Violations) != 1 || len(st.Resets) != 1 || st.Resets[0] != uint64(http2.ErrCodeCancel) {
		t.Errorf("violations = %q, resets = %v, want one, CANCEL", st.Violations, st.Resets)
	}
}

// A stream ends with END_STREAM, and with RST_STREAM(NO_ERROR) only if the client's half is open.
func TestH2StreamEnd(t *testing.T) {
	closeFrame := []byte{0x88, 0x80, 0, 0, 0, 0}
	for _, ended := range []bool{false, true} {
		s := startH2(t, outlinetest.Mux{})
		c := greeted(t, s)
		c.open(1)
		c.ok(c.framer.WriteData(1, ended, closeFrame))
		await(c, func(f *http2.DataFrame) bool { return f.StreamEnded() })
		c.ok(c.framer.WritePing(false, [8]byte{}))
		for {
			f := c.next()
			if reset, ok := f.(*http2.RSTStreamFrame); ok && (ended || reset.ErrCode != http2.ErrCodeNo) {
				t.Errorf("client ended = %v: %v", ended, reset)
			}
			if ping, ok := f.(*http2.PingFrame); ok && ping.IsAck() {
				break
			}
		}
		wait(t, s, idle)
	}
}

// Trailers end the client's half, too.
func TestH2Trailers(t *testing.T) {
	s := startH2(t, outlinetest.Mux{})
	c := greeted(t, s)
	c.open(1)
	c.headers(1, true, [][2]string{{"a", "trailer"}})
	wait(t, s, idle)
	blameless(t, s)
}

// The dynamic table of HPACK works both ways: what was sent before takes few bytes.
func TestH2Compression(t *testing.T) {
	s := startH2(t, outlinetest.Mux{})
	c := greeted(t, s)
	path := strings.Repeat("/long", 200)
	fields := c.fields()
	fields[3][1] = path
	var sizes []int
	for id := uint32(1); id <= 5; id += 2 {
		c.headers(id, true, fields)
		if got := c.status(id); got != "404" {
			t.Errorf("status = %s, want 404", got)
		}
		sizes = append(sizes, c.block.Len())
	}
	if sizes[2] > 50 || sizes[0] < 500 {
		t.Errorf("sizes of heads = %v, want the later ones small", sizes)
	}
	for _, r := range s.Stats().Requests {
		if r.URI != path {
			t.Errorf("URI = %q, want the path", r.URI)
		}
	}
}

func TestH2EndReset(t *testing.T) {
	s := startH2(t, outlinetest.Mux{})
	set(t, s, outlinetest.Fault{Status: 0, End: outlinetest.EndReset})
	echo := run(t)(outlinetest.StartEcho(""))
	open := connectH2(t, s)
	c := mustDialOver(t, s, open, s.StreamURL())
	c.open(echo.Addr(), "x")
	_, err := c.readAll()
	var reset http2.StreamError
	if !errors.As(err, &reset) || reset.Code != http2.ErrCodeInternal {
		t.Errorf("end = %v, want RST_STREAM with INTERNAL_ERROR", err)
	}
}

// END_STREAM without a Close frame ends the client's half, and the answer goes on.
func TestH2EndStreamIsNoReset(t *testing.T) {
	const size = 300_000
	sink := run(t)(outlinetest.StartSink("", size))
	s := startH2(t, outlinetest.Mux{})
	ws := &client{t: t}
	ws.setCipher(s.Cipher(), s.Secret())
	first := ws.seal(append(socksAddr(sink.Addr()), "request"...))
	c := greeted(t, s)
	c.open(1)
	frame := append([]byte{0x82, 0x80 | byte(len(first)), 0, 0, 0, 0}, first...)
	c.ok(c.framer.WriteData(1, true, frame))
	c.ok(c.framer.WriteWindowUpdate(0, 1<<20))
	c.ok(c.framer.WriteWindowUpdate(1, 1<<20))
	var answer bytes.Buffer
	for {
		f := await[*http2.DataFrame](c, nil)
		answer.Write(f.Data())
		if f.StreamEnded() {
			break
		}
	}
	if answer.Len() < size {
		t.Errorf("answer = %d bytes, want more than %d", answer.Len(), size)
	}
	wait(t, s, func(st outlinetest.Stats) bool { return len(st.Closings) == 1 })
	if got := s.Stats().Closings[0].Code; got != 1006 {
		t.Errorf("closing code = %d, want 1006", got)
	}
}
