package h2

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Open opens a stream with an extended CONNECT for a WebSocket (RFC 8441, section 5) and waits for the
// response. It implements carrier.Session. Ready must have returned nil.
func (c *Conn) Open(ctx context.Context, u *url.URL, header http.Header) (transport.StreamConn, error) {
	c.ask(time.Now())
	s, err := c.request(ctx, u, header)
	if err != nil {
		return nil, err
	}
	status, err := s.response(ctx)
	if err == nil && status != http.StatusOK {
		err = &carrier.StatusError{Code: status, Want: http.StatusOK}
	}
	if err != nil {
		_ = s.Abort()
		return nil, err
	}
	return s, nil
}

// request sends the HEADERS of a new stream. Streams are numbered in the order in which they go out.
func (c *Conn) request(ctx context.Context, u *url.URL, header http.Header) (*Stream, error) {
	if !c.out.begin(ctx.Done(), nil) {
		return nil, c.whyNot(ctx)
	}
	s, extra, err := c.newStream()
	if err != nil {
		c.out.end()
		return nil, err
	}
	frames := c.requestFrames(s.id, u, header)
	if extra > 0 {
		frames = appendWindowUpdate(frames, s.id, extra)
	}
	_, err = c.out.write(frames)
	c.out.end()
	if err != nil {
		c.fail(err)
		_ = s.Abort()
		return nil, &retryError{err}
	}
	return s, nil
}

func (c *Conn) whyNot(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &retryError{c.reason()}
}

// newStream registers a stream, and returns by how much its window is larger than announced. The caller has
// the turn.
func (c *Conn) newStream() (s *Stream, extra int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, 0, &retryError{c.err}
	case c.draining || c.nextID >= maxWindow:
		return nil, 0, &retryError{&GoAwayError{CodeNo}}
	case int64(len(c.streams)) >= int64(c.peer.maxStreams):
		return nil, 0, carrier.ErrFull
	}
	if err := c.pingIfSilentLocked(time.Now()); err != nil {
		return nil, 0, &retryError{err}
	}
	s = &Stream{
		c:        c,
		id:       c.nextID,
		readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1),
		gone:     make(chan struct{}),
		sendLeft: c.peer.initialWindow,
	}
	s.recv, extra = newWindow(c.budget)
	c.nextID += 2
	c.streams[s.id] = s
	c.idle = time.Time{}
	return s, extra, nil
}

// requestFrames encodes the request. The caller has the turn.
func (c *Conn) requestFrames(id uint32, u *url.URL, header http.Header) []byte {
	c.encBuf.Reset()
	host := u.Host
	if h := header.Get("Host"); h != "" {
		host = h
	}
	for _, f := range [...][2]string{
		{":method", "CONNECT"},
		{":protocol", "websocket"},
		{":scheme", "https"},
		{":path", u.RequestURI()},
		{":authority", host},
		{"sec-websocket-version", "13"},
	} {
		// The path is a secret: it must not enter the compression table that later requests refer to.
		c.field(f[0], f[1], f[0] == ":path")
	}
	for name, values := range header {
		for _, value := range values {
			if name != "Host" {
				c.field(strings.ToLower(name), value, true)
			}
		}
	}
	return appendHeaders(nil, id, c.encBuf.Bytes())
}

func (c *Conn) field(name, value string, sensitive bool) {
	f := hpack.HeaderField{Name: name, Value: value, Sensitive: sensitive}
	_ = c.enc.WriteField(f) // a buffer takes all
}

// appendHeaders splits a header block into frames that every server takes (section 6.10).
func appendHeaders(b []byte, id uint32, block []byte) []byte {
	kind := frameHeaders
	for {
		n := min(len(block), defaultMaxFrame)
		h := frameHeader{length: n, kind: kind, stream: id}
		if n == len(block) {
			h.flags = flagEndHeaders
		}
		b = append(h.appendTo(b), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return b
		}
		kind = frameContinuation
	}
}

// response waits for the status of the response.
func (s *Stream) response(ctx context.Context) (int, error) {
	for {
		status, err := s.tryResponse()
		if status != 0 || err != nil {
			return status, err
		}
		select {
		case <-s.readable:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// tryResponse returns 0 and no error when there is none yet. A stream that ends with its connection before
// that has carried nothing, and may be opened again elsewhere.
func (s *Stream) tryResponse() (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	switch {
	case s.err != nil && s.c.err != nil:
		return 0, &retryError{s.err}
	case s.err != nil:
		return 0, s.err
	}
	return s.status, nil
}
