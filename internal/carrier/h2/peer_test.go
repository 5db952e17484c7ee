package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

var target = &url.URL{Scheme: "wss", Host: "example.com", Path: "/secret", RawQuery: "a=1"}

// server is the far end of a connection, on another implementation of HTTP/2 frames. It obeys flow control,
// answers pings and settings, and leaves the rest to the test.
type server struct {
	t    *testing.T
	conn *transporttest.PipeConn
	fr   *http2.Framer

	mu      sync.Mutex
	changed *sync.Cond // streams came, or the end
	write   sync.Mutex // frames go out whole
	hbuf    bytes.Buffer
	henc    *hpack.Encoder
	streams map[uint32]*serverStream
	order   []uint32 // of the streams, as they came
	headers map[uint32][]hpack.HeaderField
	window  int64 // the client's receive window of the connection
	initial int64 // of its streams
	err     error
	done    chan struct{}
}

// serverStream is the server's end of one stream; it is a transport.StreamConn for the conformance suite.
type serverStream struct {
	*transporttest.PipeConn
	s      *server
	id     uint32
	in     []byte
	ended  bool
	reset  error
	window int64
	closed bool

	changed *sync.Cond // the same for this stream, so that the others need not look
}

// startServer connects a client with a server that announces extended CONNECT.
func startServer(t *testing.T) (*Conn, *server) {
	t.Helper()
	a, b := transporttest.Pipe()
	return startServerOn(t, a, b)
}

func startServerOn(t *testing.T, a, b *transporttest.PipeConn) (*Conn, *server) {
	t.Helper()
	s := &server{
		t: t, conn: b, fr: http2.NewFramer(b, b),
		streams: make(map[uint32]*serverStream), headers: make(map[uint32][]hpack.HeaderField),
		window: 65535, initial: 65535, done: make(chan struct{}),
	}
	s.changed = sync.NewCond(&s.mu)
	s.henc = hpack.NewEncoder(&s.hbuf)
	s.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	go s.serve()
	c := NewConn(a, Options{Budget: NewBudget(1 << 30)})
	t.Cleanup(func() {
		_ = c.Close()
		_ = b.Close()
		<-s.done
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return c, s
}

// serve reads the connection until it ends.
func (s *server) serve() {
	defer close(s.done)
	err := func() error {
		hello := make([]byte, len(preface))
		if _, err := io.ReadFull(s.conn, hello); err != nil || string(hello) != preface {
			return errors.New("no preface")
		}
		s.writes(func() error { return s.fr.WriteSettings(setting(http2.SettingEnableConnectProtocol, 1)) })
		for {
			f, err := s.fr.ReadFrame()
			if err != nil {
				return err
			}
			s.frame(f)
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.changed.Broadcast()
	s.wakeAll()
}

func (s *server) wakeAll() {
	for _, st := range s.streams {
		st.changed.Broadcast()
	}
}

func (s *server) writes(f func() error) error {
	s.write.Lock()
	defer s.write.Unlock()
	return f()
}

func (s *server) frame(f http2.Frame) {
	id := f.Header().StreamID
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st != nil {
		defer st.changed.Broadcast()
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		s.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			data := f.Data
			go s.writes(func() error { return s.fr.WritePing(true, data) })
		}
	case *http2.MetaHeadersFrame:
		s.headers[id] = f.Fields
		s.order = append(s.order, id)
		st := &serverStream{PipeConn: s.conn, s: s, id: id, window: s.initial, changed: sync.NewCond(&s.mu)}
		s.streams[id] = st
		s.changed.Broadcast()
	case *http2.DataFrame:
		st.in = append(st.in, f.Data()...)
		st.ended = st.ended || f.StreamEnded()
	case *http2.WindowUpdateFrame:
		if id == 0 {
			s.window += int64(f.Increment)
			s.wakeAll()
		} else {
			st.window += int64(f.Increment)
		}
	case *http2.RSTStreamFrame:
		st.reset = errors.New("reset by the client: " + f.ErrCode.String())
	}
}

func (s *server) settings(f *http2.SettingsFrame) {
	if f.IsAck() {
		return
	}
	if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
		s.initial = int64(v)
	}
	go s.writes(s.fr.WriteSettingsAck)
}

// accept waits for the next stream and answers it with a status.
func (s *server) accept(status string) *serverStream {
	s.mu.Lock()
	for len(s.order) == 0 && s.err == nil {
		s.changed.Wait()
	}
	if len(s.order) == 0 {
		s.mu.Unlock()
		s.t.Error("no stream came: ", s.err)
		return nil
	}
	st := s.streams[s.order[0]]
	s.order = s.order[1:]
	s.mu.Unlock()
	err := s.writes(func() error {
		s.hbuf.Reset()
		_ = s.henc.WriteField(hpack.HeaderField{Name: ":status", Value: status})
		answer := http2.HeadersFrameParam{StreamID: st.id, BlockFragment: s.hbuf.Bytes(), EndHeaders: true}
		return s.fr.WriteHeaders(answer)
	})
	if err != nil {
		s.t.Error(err)
	}
	return st
}

func (st *serverStream) Read(p []byte) (int, error) {
	s := st.s
	s.mu.Lock()
	for len(st.in) == 0 && !st.ended && st.reset == nil && s.err == nil {
		st.changed.Wait()
	}
	n := copy(p, st.in)
	st.in = st.in[n:]
	ended, reset, err := st.ended, st.reset, s.err
	s.mu.Unlock()
	switch {
	case n > 0:
		if !ended {
			_ = s.writes(func() error { return s.fr.WriteWindowUpdate(st.id, uint32(n)) })
		}
		return n, s.writes(func() error { return s.fr.WriteWindowUpdate(0, uint32(n)) })
	case reset != nil:
		return 0, reset
	case ended:
		return 0, io.EOF
	}
	return 0, err
}

func (st *serverStream) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := st.take(len(p) - n)
		if err != nil {
			return n, err
		}
		err = st.s.writes(func() error { return st.s.fr.WriteData(st.id, false, p[n:n+m]) })
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// take waits for room in the client's windows.
func (st *serverStream) take(n int) (int, error) {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for (st.window <= 0 || s.window <= 0) && st.reset == nil && s.err == nil && !st.closed {
		st.changed.Wait()
	}
	switch {
	case st.closed:
		return 0, net.ErrClosed
	case st.reset != nil:
		return 0, st.reset
	case s.err != nil:
		return 0, s.err
	}
	m := min(int64(n), st.window, s.window, 16384)
	st.window -= m
	s.window -= m
	return int(m), nil
}

func (st *serverStream) CloseWrite() error {
	return st.s.writes(func() error { return st.s.fr.WriteData(st.id, true, nil) })
}

func (st *serverStream) Abort() error {
	st.close()
	return st.s.writes(func() error { return st.s.fr.WriteRSTStream(st.id, http2.ErrCodeInternal) })
}

func (st *serverStream) Close() error {
	if !st.close() {
		return nil
	}
	return st.CloseWrite()
}

func (st *serverStream) close() bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	was := st.closed
	st.closed = true
	st.changed.Broadcast()
	return !was
}

// openPair opens a stream and returns both ends.
func openPair(t *testing.T, c *Conn, s *server) (*Stream, *serverStream) {
	t.Helper()
	accepted := make(chan *serverStream, 1)
	go func() { accepted <- s.accept("200") }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := c.Open(ctx, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a.(*Stream), <-accepted
}

func TestConformance(t *testing.T) {
	transporttest.Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
		c, s := startServer(t)
		return openPair(t, c, s)
	})
}
