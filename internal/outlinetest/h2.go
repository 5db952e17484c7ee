package outlinetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	h2InitialWindow = 65_535 // of every connection, and of streams until SETTINGS (RFC 9113, section 6.9.2)
	h2MaxWindow     = 1<<31 - 1
	h2MaxFrame      = 16_384 // what we take, and send until SETTINGS allow more
	h2HeaderTable   = 4096   // of both HPACK tables (RFC 9113, section 6.5.2)
	muxWindow       = 1 << 20
	muxStreams      = 4096 // concurrent ones on a connection, unless the fault says fewer
	byeWait         = time.Second
)

// h2Conn is a client's HTTP/2 connection (RFC 9113). Go's server would do, but it announces the extended
// CONNECT by an environment variable alone, and misbehaves too little.
type h2Conn struct {
	server  *Server
	tcp     *conn
	secure  *tls.Conn // over tcp
	framer  *http2.Framer
	out     *h2Out
	running sync.WaitGroup // all goroutines but the reader
	gone    chan struct{}  // closed by end
	mux     Mux            // the fault at the opening

	mu      sync.Mutex
	err     error // why the connection has ended
	streams map[uint32]*h2Stream
	open    int    // streams as the protocol counts them
	lastID  uint32 // the newest stream that was taken
	seen    int    // streams that were taken, for Mux.RefuseEvery
	leaving h2Leaving
	pings   uint64 // sent for Mux.PingEvery
	flow    h2Flow
}

// h2Leaving is how far a GOAWAY has come.
type h2Leaving uint8

const (
	h2Staying   h2Leaving = iota
	h2Announced           // the first GOAWAY is out
	h2Final               // the real last stream is out; later ones are not answered
	h2Left                // no streams are left, and our half is closed
)

// serveH2 serves a connection to its end.
func (s *Server) serveH2(c *conn, secure *tls.Conn) {
	h := &h2Conn{
		server: s, tcp: c, secure: secure,
		gone:    make(chan struct{}),
		streams: make(map[uint32]*h2Stream),
		mux:     s.fault.load().Mux,
	}
	to := bufio.NewWriterSize(secure, h2MaxFrame+frameHeader)
	h.framer = http2.NewFramer(to, bufio.NewReader(secure))
	h.framer.SetReuseFrames()
	h.framer.SetMaxReadFrameSize(h2MaxFrame)
	h.framer.ReadMetaHeaders = hpack.NewDecoder(h2HeaderTable, nil)
	h.framer.MaxHeaderListSize = maxHead
	h.out = newH2Out(h.framer, to, func() { _ = c.Close() })
	h.flow = newH2Flow(h.mux)
	h.greet()
	h.running.Go(h.out.run)
	h.running.Go(h.nag)
	h.end(h.read(secure))
	h.running.Wait()
	h.linger()
}

// greet queues what a server says first.
func (h *h2Conn) greet() {
	settings := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: uint32(h.flow.window)},
		{ID: http2.SettingMaxConcurrentStreams, Val: uint32(h.maxStreams())},
	}
	if !h.mux.NoConnect {
		settings = append(settings, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	}
	h.flow.await(h.flow.window)
	more := h.flow.connWindow - h2InitialWindow
	h.out.control(func() error {
		if err := h.framer.WriteSettings(settings...); err != nil || more <= 0 {
			return err
		}
		return h.framer.WriteWindowUpdate(0, uint32(more))
	})
}

func (h *h2Conn) maxStreams() int {
	if h.mux.MaxStreams > 0 {
		return h.mux.MaxStreams
	}
	return muxStreams
}

// read takes frames until the connection ends.
func (h *h2Conn) read(from io.Reader) error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(from, preface); err != nil {
		return err
	}
	if !bytes.Equal(preface, []byte(http2.ClientPreface)) {
		h.blame("no preface")
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	for first := true; ; first = false {
		f, err := h.framer.ReadFrame()
		if _, ok := f.(*http2.SettingsFrame); first && err == nil {
			if !ok {
				h.blame("the first frame is no SETTINGS")
				return http2.ConnectionError(http2.ErrCodeProtocol)
			}
			_ = h.secure.SetDeadline(time.Time{})
		}
		if err == nil {
			err = h.handle(f)
		}
		if errors.Is(err, http2.ErrFrameTooLarge) {
			return http2.ConnectionError(http2.ErrCodeFrameSize)
		}
		if stream, ok := errors.AsType[http2.StreamError](err); ok {
			h.blame(stream.Error())
			h.abort(stream.StreamID, stream.Code)
			continue
		}
		if err != nil {
			return err
		}
	}
}

// end breaks all streams and lets the writer end. A client that broke the protocol is told.
func (h *h2Conn) end(err error) {
	if code, ok := errors.AsType[http2.ConnectionError](err); ok {
		h.blame(code.Error())
		h.mu.Lock()
		last := h.lastID
		h.mu.Unlock()
		h.out.control(func() error { return h.framer.WriteGoAway(last, http2.ErrCode(code), nil) })
	}
	h.mu.Lock()
	h.err = fmt.Errorf("connection ended: %w", errors.Join(net.ErrClosed, err))
	for _, s := range h.streams {
		s.shut(h.err)
	}
	h.mu.Unlock()
	close(h.gone)
	_ = h.tcp.SetWriteDeadline(time.Now().Add(byeWait))
	h.out.close()
}

// linger closes our half first: a GOAWAY must not be overtaken by the reset that unread data would cause.
func (h *h2Conn) linger() {
	if h.secure.CloseWrite() != nil {
		return
	}
	_ = h.tcp.tcp.CloseWrite()
	_ = h.tcp.SetReadDeadline(time.Now().Add(byeWait))
	_, _ = io.Copy(io.Discard, h.tcp)
}

// blame records what the client did against the protocol.
func (h *h2Conn) blame(what string) { h.server.stats.violation("h2: " + what) }

// abort resets a stream of which the application need not know yet.
func (h *h2Conn) abort(id uint32, code http2.ErrCode) {
	h.mu.Lock()
	h.lastID = max(h.lastID, id)
	s := h.streams[id]
	h.mu.Unlock()
	if s != nil {
		s.resetWith(code)
		return
	}
	h.out.control(func() error { return h.framer.WriteRSTStream(id, code) })
}
