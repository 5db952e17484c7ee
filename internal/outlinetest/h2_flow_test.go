package outlinetest_test

import (
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// fill sends n bytes of DATA on stream 1 in frames of at most 16 KiB.
func (c *script) fill(n int) {
	c.t.Helper()
	for n > 0 {
		size := min(n, 16384)
		c.ok(c.framer.WriteData(1, false, make([]byte, size)))
		n -= size
	}
}

// stuck opens a stream whose data nobody reads.
func stuck(t *testing.T, m outlinetest.Mux) (*outlinetest.Server, *script) {
	t.Helper()
	s := startH2(t, m)
	set(t, s, outlinetest.Fault{Stage: outlinetest.StallOpened, Mux: m})
	c := greeted(t, s)
	c.open(1)
	return s, c
}

func TestH2StreamWindow(t *testing.T) {
	s, c := stuck(t, outlinetest.Mux{Window: 40_000})
	c.fill(40_000)
	c.ok(c.framer.WritePing(false, [8]byte{}))
	await(c, func(f *http2.PingFrame) bool { return f.IsAck() })
	blameless(t, s)
	c.fill(1)
	if got := c.reset(1); got != http2.ErrCodeFlowControl {
		t.Errorf("one byte too many = %v, want FLOW_CONTROL_ERROR", got)
	}
	if got := s.Stats().Mux.Violations; len(got) != 1 {
		t.Errorf("violations = %q, want one", got)
	}
	set(t, s, outlinetest.Fault{})
	c.open(3) // the connection lives
}

func TestH2ConnectionWindow(t *testing.T) {
	s, c := stuck(t, outlinetest.Mux{Window: 1 << 20, ConnWindow: 1}) // as small as it gets: 65535
	c.fill(65_535)
	c.fill(1)
	if got := await[*http2.GoAwayFrame](c, nil); got.ErrCode != http2.ErrCodeFlowControl {
		t.Errorf("one byte too many = %v, want FLOW_CONTROL_ERROR", got)
	}
	_ = c.conn.Close()
	wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 && st.Live == 0 })
}

// What is read is given back, and what a stream that ended had left over is given back to the connection.
func TestH2Credit(t *testing.T) {
	const window = 16_000
	s := startH2(t, outlinetest.Mux{Window: window, ConnWindow: 1})
	set(t, s, outlinetest.Fault{Stage: outlinetest.Blackhole, Mux: outlinetest.Mux{Window: window}})
	c := greeted(t, s)
	for id := uint32(1); id < 21; id += 2 {
		c.open(id)
		c.ok(c.framer.WriteDataPadded(id, false, message(window - 14 - 101)[:window-101], make([]byte, 100)))
		await(c, func(f *http2.WindowUpdateFrame) bool { return f.StreamID == id })
		c.ok(c.framer.WriteRSTStream(id, http2.ErrCodeCancel))
	}
	wait(t, s, idle)
	blameless(t, s)
}

// A window that shrinks in the middle of a transfer may become negative, and the transfer goes on.
func TestH2ShrinkingWindow(t *testing.T) {
	const size = 3 << 20
	m := outlinetest.Mux{ShrinkAfter: 300_000, ShrinkTo: 1000}
	s := startH2(t, m)
	sink := run(t)(outlinetest.StartSink("", 1))
	c := mustDialOver(t, s, connectH2(t, s), s.StreamURL())
	c.open(sink.Addr(), "")
	data, _ := io.ReadAll(outlinetest.Pattern(size))
	if err := c.write(data); err != nil {
		t.Fatal(err)
	}
	c.closeWrite()
	if got, err := c.readAll(); len(got) != 1 || err != nil {
		t.Errorf("answer = %d bytes, %v, want 1", len(got), err)
	}
	if up := upload(t, sink); up.SHA256 != outlinetest.PatternSHA256(size) {
		t.Errorf("upload = %+v, want the pattern of %d", up, size)
	}
	if got := s.Stats().Mux.SettingsAcks; got != 2 {
		t.Errorf("acknowledged SETTINGS = %d, want 2", got)
	}
	blameless(t, s)
}

// The server keeps to the client's windows, and to a change that makes one negative.
func TestH2ServerKeepsToWindows(t *testing.T) {
	const first, second = 5000, 1000
	sink := run(t)(outlinetest.StartSink("", 100_000))
	s := startH2(t, outlinetest.Mux{})
	c := greeted(t, s)
	c.ok(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: first}))
	c.open(1)
	ws := &client{t: t}
	ws.setCipher(s.Cipher(), s.Secret())
	request := ws.seal(append(socksAddr(sink.Addr()), "request"...))
	c.ok(c.framer.WriteData(1, true, append([]byte{0x82, 0x80 | byte(len(request)), 0, 0, 0, 0}, request...)))
	got := c.drain()
	if got != first {
		t.Fatalf("bytes in a window of %d = %d", first, got)
	}
	c.ok(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: second}))
	c.ok(c.framer.WriteWindowUpdate(1, first-second)) // makes it 0
	if got := c.drain(); got != 0 {
		t.Errorf("bytes in a window of 0 = %d", got)
	}
	c.ok(c.framer.WriteWindowUpdate(1, 7))
	if got := c.drain(); got != 7 {
		t.Errorf("bytes in a window of 7 = %d", got)
	}
}

// drain counts the DATA on stream 1 until the server is silent for a moment.
func (c *script) drain() int {
	c.t.Helper()
	total := 0
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(moment))
		f, err := c.framer.ReadFrame()
		if isTimeout(nil, err) {
			_ = c.conn.SetReadDeadline(time.Now().Add(patience))
			return total
		}
		c.ok(err)
		if data, ok := f.(*http2.DataFrame); ok {
			total += len(data.Data())
		}
	}
}
