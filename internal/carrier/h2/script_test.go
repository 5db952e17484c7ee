package h2

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// Short names for tables.
const (
	codeProtocol  = http2.ErrCodeProtocol
	codeFrameSize = http2.ErrCodeFrameSize
	codeFlow      = http2.ErrCodeFlowControl
	codeCalm      = http2.ErrCodeEnhanceYourCalm
	endHeaders    = http2.FlagHeadersEndHeaders
)

// script is the far end of a connection, for tests that say every frame. It runs in a synctest bubble: what
// the client does in answer to a frame is done when a method of script returns.
type script struct {
	t    *testing.T
	c    *Conn
	near *recorder
	far  *transporttest.PipeConn
	fr   *http2.Framer // writes only
	gate chan struct{} // holds a token while nothing is read

	hbuf bytes.Buffer
	henc *hpack.Encoder
	hdec *hpack.Decoder

	mu    sync.Mutex
	hello string
	got   []frame
}

// frame is one that the client sent.
type frame struct {
	http2.FrameHeader
	payload []byte
}

// recorder notes the sizes of the writes that go through it.
type recorder struct {
	net.Conn
	mu    sync.Mutex
	sizes []int
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.sizes = append(r.sizes, len(p))
	r.mu.Unlock()
	return r.Conn.Write(p)
}

// takeSizes returns the sizes of the writes since the last call.
func (r *recorder) takeSizes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	sizes := r.sizes
	r.sizes = nil
	return sizes
}

// inScript runs a test in a bubble, against a server that has not sent anything yet.
func inScript(t *testing.T, o Options, test func(t *testing.T, p *script)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := transporttest.Pipe()
		p := &script{t: t, near: &recorder{Conn: a}, far: b, gate: make(chan struct{}, 1)}
		p.fr = http2.NewFramer(b, nil)
		p.fr.AllowIllegalWrites = true
		p.henc = hpack.NewEncoder(&p.hbuf)
		p.hdec = hpack.NewDecoder(4096, nil)
		p.c = NewConn(p.near, o)
		var reading sync.WaitGroup
		reading.Go(p.read)
		defer func() {
			_ = p.c.Close()
			_ = b.Close()
			reading.Wait()
		}()
		test(t, p)
	})
}

// inSession is inScript with a server that has announced the settings, and extended CONNECT with them, and
// has answered what that brought about.
func inSession(t *testing.T, test func(t *testing.T, p *script), settings ...http2.Setting) {
	t.Helper()
	inScript(t, Options{Budget: NewBudget(1 << 30)}, func(t *testing.T, p *script) {
		p.greet(settings...)
		test(t, p)
	})
}

func (p *script) greet(settings ...http2.Setting) {
	p.t.Helper()
	p.do(p.fr.WriteSettings(append(settings, setting(http2.SettingEnableConnectProtocol, 1))...))
	for _, f := range p.take() {
		if f.Type == http2.FramePing {
			p.do(p.fr.WritePing(true, [8]byte(f.payload)))
		}
	}
	p.near.takeSizes()
}

// read collects frames until the connection ends.
func (p *script) read() {
	hello := make([]byte, len(http2.ClientPreface))
	n, _ := io.ReadFull(p.far, hello)
	p.mu.Lock()
	p.hello = string(hello[:n])
	p.mu.Unlock()
	for {
		p.gate <- struct{}{}
		<-p.gate
		h, err := http2.ReadFrameHeader(p.far)
		if err != nil {
			return
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(p.far, payload); err != nil {
			return
		}
		p.mu.Lock()
		p.got = append(p.got, frame{h, payload})
		p.mu.Unlock()
	}
}

// stopReading lets at most one more frame be read; startReading ends that.
func (p *script) stopReading()  { p.gate <- struct{}{} }
func (p *script) startReading() { <-p.gate }

// do waits for what the client makes of what was sent.
func (p *script) do(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Errorf("server's write: %v", err)
	}
	synctest.Wait()
}

// raw sends any frame.
func (p *script) raw(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) {
	p.t.Helper()
	p.do(p.fr.WriteRawFrame(kind, flags, stream, payload))
}

// take returns the frames that came since the last call.
func (p *script) take() []frame {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

// takeKind returns the frames of one kind that came since the last call, and drops the others.
func (p *script) takeKind(kind http2.FrameType) []frame {
	return slices.DeleteFunc(p.take(), func(f frame) bool { return f.Type != kind })
}

// takeOne returns the only frame of that kind.
func (p *script) takeOne(kind http2.FrameType) frame {
	p.t.Helper()
	got := p.takeKind(kind)
	if len(got) != 1 {
		p.t.Fatalf("client sent %d %v frames, want 1", len(got), kind)
	}
	return got[0]
}

// wantReset wants the stream reset by the client, and the connection alive.
func (p *script) wantReset(stream uint32, code http2.ErrCode) {
	p.t.Helper()
	f := p.takeOne(http2.FrameRSTStream)
	if got := http2.ErrCode(binary.BigEndian.Uint32(f.payload)); f.StreamID != stream || got != code {
		p.t.Errorf("client sent RST_STREAM(%v) on stream %d, want %v on %d", got, f.StreamID, code, stream)
	}
	p.wantAlive()
}

// wantGoAway wants the connection ended by the client.
func (p *script) wantGoAway(code http2.ErrCode) {
	p.t.Helper()
	f := p.takeOne(http2.FrameGoAway)
	if got := http2.ErrCode(binary.BigEndian.Uint32(f.payload[4:])); got != code {
		p.t.Errorf("client sent GOAWAY(%v), want %v", got, code)
	}
	if !p.c.Ended() {
		p.t.Error("Ended() = false after GOAWAY, want true")
	}
}

// wantAlive wants a ping answered.
func (p *script) wantAlive() {
	p.t.Helper()
	data := [8]byte{'a', 'l', 'i', 'v', 'e'}
	p.do(p.fr.WritePing(false, data))
	for _, f := range p.takeKind(http2.FramePing) {
		if f.Flags.Has(http2.FlagPingAck) && [8]byte(f.payload) == data {
			return
		}
	}
	p.t.Errorf("connection does not answer a ping; it ended for: %v", p.c.reason())
}

// block encodes a header block.
func (p *script) block(fields ...string) []byte {
	p.hbuf.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.henc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.hbuf.Bytes())
}

// respond sends a response that leaves the stream open.
func (p *script) respond(stream uint32, status string) {
	p.t.Helper()
	p.raw(http2.FrameHeaders, endHeaders, stream, p.block(":status", status))
}

// opening is an Open under way.
type opening struct {
	stream *Stream
	err    error
	done   chan struct{}
}

// start begins to open a stream.
func (p *script) start(ctx context.Context, header http.Header) *opening {
	o := &opening{done: make(chan struct{})}
	go func() {
		defer close(o.done)
		s, err := p.c.Open(ctx, target, header)
		if o.err = err; err == nil {
			o.stream = s.(*Stream)
		}
	}()
	synctest.Wait()
	return o
}

// open opens a stream.
func (p *script) open() *Stream {
	p.t.Helper()
	o := p.start(context.Background(), nil)
	p.respond(p.takeOne(http2.FrameHeaders).StreamID, "200")
	<-o.done
	if o.err != nil {
		p.t.Fatalf("Open() = %v, want nil", o.err)
	}
	p.near.takeSizes()
	return o.stream
}

// data sends DATA.
func (p *script) data(s *Stream, payload string) {
	p.t.Helper()
	p.raw(http2.FrameData, 0, s.id, []byte(payload))
}

// end sends END_STREAM.
func (p *script) end(s *Stream) {
	p.t.Helper()
	p.raw(http2.FrameData, http2.FlagDataEndStream, s.id, nil)
}

// begun runs f and returns a channel that yields its error.
func begun(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	synctest.Wait()
	return done
}

// write begins to write n bytes.
func (s *Stream) beginWrite(n int) <-chan error {
	return begun(func() error {
		_, err := s.Write(make([]byte, n))
		return err
	})
}

// total is the number of payload bytes in DATA frames.
func total(frames []frame) (n int) {
	for _, f := range frames {
		if f.Type == http2.FrameData {
			n += len(f.payload)
		}
	}
	return n
}

// number is the payload of a frame with one 32-bit number.
func number(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// increment is what a WINDOW_UPDATE grants.
func (f frame) increment() int64 { return int64(binary.BigEndian.Uint32(f.payload)) }
