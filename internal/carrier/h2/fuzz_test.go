package h2

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// canned is a server whose every byte is there from the start, and that takes everything.
type canned struct {
	net.Conn // panics
	r        *bytes.Reader
	closed   chan struct{}
}

func (c *canned) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *canned) Write(p []byte) (int, error)      { return len(p), nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

func (c *canned) Close() error {
	close(c.closed)
	return nil
}

// corpus calls add with what servers send.
func corpus(add func([]byte)) {
	frames := func(write func(fr *http2.Framer, block []byte)) {
		var out, block bytes.Buffer
		_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		fr := http2.NewFramer(&out, nil)
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
		write(fr, block.Bytes())
		add(out.Bytes())
	}
	frames(func(*http2.Framer, []byte) {})
	frames(func(fr *http2.Framer, block []byte) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
		_ = fr.WriteDataPadded(1, false, []byte("hello"), make([]byte, 5))
		_ = fr.WriteWindowUpdate(0, 100)
		_ = fr.WriteWindowUpdate(1, 100)
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
		_ = fr.WritePing(false, [8]byte{})
		_ = fr.WriteData(1, true, nil)
	})
	frames(func(fr *http2.Framer, block []byte) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1], PadLength: 2})
		_ = fr.WriteContinuation(1, true, block[1:])
		_ = fr.WriteRSTStream(3, http2.ErrCodeRefusedStream)
		_ = fr.WriteGoAway(1, http2.ErrCodeNo, []byte("bye"))
		_ = fr.WriteRawFrame(0x55, 0xff, 7, []byte("unknown"))
	})
}

// FuzzRead plays any server to a client with two streams: the client never panics, holds little and ends.
func FuzzRead(f *testing.F) {
	corpus(func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, sent []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		peer := &canned{r: bytes.NewReader(sent), closed: make(chan struct{})}
		start := make(chan struct{})
		c := NewConn(gated{peer, start}, Options{Budget: NewBudget(1 << 20)})
		ended := make(chan struct{})
		for range 2 {
			go func() {
				defer func() { ended <- struct{}{} }()
				s, err := c.Open(context.Background(), target, nil)
				if err != nil {
					return
				}
				if n, err := io.Copy(io.Discard, s); n > int64(len(sent)) {
					t.Errorf("read %d bytes, %v, of %d sent", n, err, len(sent))
				}
				_ = s.Close()
			}()
		}
		for c.Load().Streams < 2 {
			runtime.Gosched()
		}
		close(start)
		<-peer.closed
		<-ended
		<-ended
		_ = c.Close()
		runtime.ReadMemStats(&after)
		if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 8<<20 {
			t.Errorf("client holds %d bytes for %d sent", held, len(sent))
		}
		if left := c.budget.left.Load(); left != 1<<20 {
			t.Errorf("budget = %d, want all of it", left)
		}
	})
}

// gated does not let anything be read before start is closed.
type gated struct {
	net.Conn
	start <-chan struct{}
}

func (g gated) Read(p []byte) (int, error) {
	<-g.start
	return g.Conn.Read(p)
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte{0, 4, 0x7f, 0xff, 0xff, 0xff, 0, 8, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		s := defaultSettings()
		if err := s.apply(p); err != nil {
			return
		}
		okFrame := s.maxFrame >= defaultMaxFrame && s.maxFrame < 1<<24
		if s.initialWindow < 0 || s.initialWindow > maxWindow || !okFrame {
			t.Errorf("apply(%x) = nil with %+v", p, s)
		}
	})
}
