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
// response. Errors that are carrier.ErrRetry say that another connection may have more luck. Ready must have
// returned nil.
func (c *Conn) Open(ctx context.Context, u *url.URL, header http.Header) (transport.StreamConn, error) {
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
	defer c.out.end()
	s, maxFrame, err := c.newStream()
	if err != nil {
		return nil, err
	}
	err = c.out.write(c.requestFrames(s.id, maxFrame, u, header))
	if err != nil {
		c.fail(err)
		return nil, err
	}
	return s, nil
}

func (c *Conn) whyNot(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &retryError{c.reason()}
}

// newStream registers a stream. The caller has the turn.
func (c *Conn) newStream() (s *Stream, maxFrame int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, 0, &retryError{c.err}
	case c.draining || c.nextID >= maxWindow:
		return nil, 0, &retryError{&GoAwayError{CodeNo}}
	case uint32(len(c.streams)) >= c.peer.maxStreams: //nolint:gosec // bounded by maxStreams
		return nil, 0, errFull
	}
	s = &Stream{
		c:        c,
		id:       c.nextID,
		readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1),
		gone:     make(chan struct{}),
		recv:     window{size: firstWindow, left: firstWindow},
		sendLeft: c.peer.initialWindow,
	}
	c.nextID += 2
	c.streams[s.id] = s
	c.idle = time.Time{}
	return s, c.peer.maxFrame, nil
}

// requestFrames encodes the request. The caller has the turn.
func (c *Conn) requestFrames(id uint32, maxFrame int, u *url.URL, header http.Header) []byte {
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
	return appendHeaders(nil, id, maxFrame, c.encBuf.Bytes())
}

func (c *Conn) field(name, value string, sensitive bool) {
	_ = c.enc.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: sensitive}) // a buffer takes all
}

// appendHeaders splits a header block into frames that the server takes (section 6.10).
func appendHeaders(b []byte, id uint32, maxFrame int, block []byte) []byte {
	kind := frameHeaders
	for {
		n := min(len(block), maxFrame)
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
		s.c.mu.Lock()
		answered, status, err := s.answered, s.status, s.err
		s.c.mu.Unlock()
		switch {
		case err != nil:
			return 0, err
		case answered:
			return status, nil
		}
		select {
		case <-s.readable:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
