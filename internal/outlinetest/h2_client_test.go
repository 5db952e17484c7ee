package outlinetest_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// script is a client of HTTP/2 that does only what a test tells it.
type script struct {
	t       *testing.T
	s       *outlinetest.Server
	conn    net.Conn
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder
}

// newScript connects and sends nothing.
func newScript(t *testing.T, s *outlinetest.Server) *script {
	t.Helper()
	conn := dialTLS(t, s)
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &script{t: t, s: s, conn: conn, framer: http2.NewFramer(conn, conn)}
	c.encoder = hpack.NewEncoder(&c.block)
	c.decoder = hpack.NewDecoder(4096, nil)
	c.framer.AllowIllegalWrites = true
	_, err := io.WriteString(conn, http2.ClientPreface)
	c.ok(err)
	return c
}

// greeted connects and gets past SETTINGS.
func greeted(t *testing.T, s *outlinetest.Server) *script {
	t.Helper()
	c := newScript(t, s)
	c.ok(c.framer.WriteSettings())
	for acks := 0; acks < 1; {
		if f, ok := c.next().(*http2.SettingsFrame); ok {
			if f.IsAck() {
				acks++
				continue
			}
			c.ok(c.framer.WriteSettingsAck())
		}
	}
	wait(t, s, func(st outlinetest.Stats) bool { return st.Mux.SettingsAcks > 0 })
	return c
}

func (c *script) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// next reads a frame, whose bytes are good until the next.
func (c *script) next() http2.Frame {
	c.t.Helper()
	f, err := c.framer.ReadFrame()
	c.ok(err)
	return f
}

// await reads frames until one of type F that is as ok says, which may be nil.
func await[F http2.Frame](c *script, ok func(F) bool) F {
	c.t.Helper()
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			var want F
			c.t.Fatalf("no %T came: %v", want, err)
		}
		if f, is := f.(F); is && (ok == nil || ok(f)) {
			return f
		}
	}
}

// fields are those of an extended CONNECT.
func (c *script) fields() [][2]string {
	u, err := url.Parse(c.s.StreamURL())
	c.ok(err)
	return [][2]string{
		{":method", "CONNECT"},
		{":protocol", "websocket"},
		{":scheme", "https"},
		{":path", u.Path},
		{":authority", u.Host},
		{"sec-websocket-version", "13"},
	}
}

// headers sends the head of a request.
func (c *script) headers(id uint32, end bool, fields [][2]string) {
	c.t.Helper()
	c.block.Reset()
	for _, f := range fields {
		c.ok(c.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	c.ok(c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: end,
	}))
}

// status reads until the head of the answer on a stream and returns its status.
func (c *script) status(id uint32) string {
	c.t.Helper()
	f := await(c, func(f *http2.HeadersFrame) bool { return f.StreamID == id })
	fields, err := c.decoder.DecodeFull(f.HeaderBlockFragment())
	c.ok(err)
	return fields[0].Value
}

// open opens a WebSocket.
func (c *script) open(id uint32) {
	c.t.Helper()
	c.headers(id, false, c.fields())
	if got := c.status(id); got != "200" {
		c.t.Fatalf("status of stream %d = %s, want 200", id, got)
	}
}

// reset reads until a RST_STREAM and returns its code.
func (c *script) reset(id uint32) http2.ErrCode {
	c.t.Helper()
	return await(c, func(f *http2.RSTStreamFrame) bool { return f.StreamID == id }).ErrCode
}

// message is a masked WebSocket message of n zeros, for which the mask is all zeros, too.
func message(n int) []byte {
	head := binary.BigEndian.AppendUint64([]byte{0x82, 0x80 | 127}, uint64(n))
	return append(head, make([]byte, 4+n)...)
}
