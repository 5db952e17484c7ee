package outlinetest_test

import (
	"errors"
	"io"
	"testing"

	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// Codes, short enough for a table.
const (
	protocolError = http2.ErrCodeProtocol
	flowError     = http2.ErrCodeFlowControl
)

// changed is c.fields with another value, or with a field more.
func (c *script) changed(name, value string) [][2]string {
	fields := c.fields()
	for i := range fields {
		if fields[i][0] == name {
			fields[i][1] = value
			return fields
		}
	}
	return append(fields, [2]string{name, value})
}

func TestH2ConnectionErrors(t *testing.T) {
	rows := []struct {
		name string
		do   func(c *script)
		want http2.ErrCode
	}{
		{"even stream", func(c *script) { c.headers(2, false, c.fields()) }, protocolError},
		{"old stream", func(c *script) { c.open(3); c.headers(1, false, c.fields()) }, protocolError},
		{"idle stream", func(c *script) { c.ok(c.framer.WriteData(9, false, nil)) }, protocolError},
		{"idle update", func(c *script) { c.ok(c.framer.WriteWindowUpdate(9, 1)) }, protocolError},
		{"idle reset", func(c *script) { c.ok(c.framer.WriteRSTStream(9, 0)) }, protocolError},
		{"ack of nothing", func(c *script) { c.ok(c.framer.WriteSettingsAck()) }, protocolError},
		{"overflow", func(c *script) { c.ok(c.framer.WriteWindowUpdate(0, 1<<31-1)) }, flowError},
		{"overflow by SETTINGS", func(c *script) {
			c.open(1)
			c.ok(c.framer.WriteWindowUpdate(1, 1))
			c.ok(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}))
		}, flowError},
		{"bad setting", func(c *script) {
			c.ok(c.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1}))
		}, protocolError},
		{"large frame", func(c *script) {
			c.open(1)
			c.ok(c.framer.WriteData(1, false, make([]byte, 16385)))
		}, http2.ErrCodeFrameSize},
		{"push", func(c *script) {
			push := http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true}
			c.ok(c.framer.WritePushPromise(push))
		}, protocolError},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, c := stalled(t)
			row.do(c)
			if got := await[*http2.GoAwayFrame](c, nil).ErrCode; got != row.want {
				t.Errorf("code = %v, want %v", got, row.want)
			}
			_ = c.conn.Close()
			wait(t, s, func(st outlinetest.Stats) bool { return st.Open == 0 })
			blamed(t, s)
		})
	}
}

func TestH2StreamErrors(t *testing.T) {
	rows := []struct {
		name string
		do   func(c *script)
		want http2.ErrCode
	}{
		{"fields missing", func(c *script) { c.headers(1, false, c.fields()[:1]) }, protocolError},
		{"scheme", func(c *script) { c.headers(1, false, c.changed(":scheme", "ftp")) }, protocolError},
		{"protocol of GET", func(c *script) {
			c.headers(1, false, c.changed(":method", "GET"))
		}, protocolError},
		{"field of HTTP/1.1", func(c *script) {
			c.headers(1, false, c.changed("upgrade", "websocket"))
		}, protocolError},
		{"TE", func(c *script) { c.headers(1, false, c.changed("te", "gzip")) }, protocolError},
		{"upper case", func(c *script) { c.headers(1, false, c.changed("X-Upper", "x")) }, protocolError},
		{"data after the end", func(c *script) {
			c.open(1)
			c.ok(c.framer.WriteData(1, true, nil))
			c.ok(c.framer.WriteData(1, false, nil))
		}, http2.ErrCodeStreamClosed},
		{"head without end", func(c *script) {
			c.open(1)
			c.headers(1, false, [][2]string{{"a", "b"}})
		}, http2.ErrCodeStreamClosed},
		{"overflow", func(c *script) {
			c.open(1)
			c.ok(c.framer.WriteWindowUpdate(1, 1<<31-1))
		}, flowError},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, c := stalled(t)
			row.do(c)
			if got := c.reset(1); got != row.want {
				t.Errorf("code = %v, want %v", got, row.want)
			}
			c.open(11) // the connection lives
			blamed(t, s)
		})
	}
}

// stalled is a server that opens WebSockets and no more, and a client past SETTINGS.
func stalled(t *testing.T) (*outlinetest.Server, *script) {
	t.Helper()
	s := startH2(t, outlinetest.Mux{})
	set(t, s, outlinetest.Fault{Stage: outlinetest.StallOpened})
	return s, greeted(t, s)
}

func blamed(t *testing.T, s *outlinetest.Server) {
	t.Helper()
	if got := s.Stats().Mux.Violations; len(got) == 0 {
		t.Error("no violation in the stats")
	}
}

func TestH2BadPreface(t *testing.T) {
	s := startH2(t, outlinetest.Mux{})
	conn := dialTLS(t, s)
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	wait(t, s, func(st outlinetest.Stats) bool { return len(st.Mux.Violations) > 0 })
	_, err := io.Copy(io.Discard, conn)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("end = %v, want a clean one", err)
	}
}
