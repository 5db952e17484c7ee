package h3

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	// leaveTime is how long a stream waits for the server's leave (MAX_STREAMS). It is there at once, unless
	// the server has as many streams as it wants: then another connection is better than to wait.
	leaveTime = 50 * time.Millisecond
	// fullTime is how long a connection counts as full when no stream ends earlier.
	fullTime = time.Second
	// maxInterim bounds the responses before the response (RFC 9110, section 15.2).
	maxInterim = 5
)

// Open implements carrier.Session: an extended CONNECT (RFC 9220), and the wait for its response.
func (c *Conn) Open(ctx context.Context, u *url.URL, header http.Header) (transport.StreamConn, error) {
	c.count(1)
	c.ask(time.Now())
	raw, err := c.openStream(ctx)
	if err != nil {
		c.count(-1)
		return nil, err
	}
	s := newStream(c, raw)
	stop := context.AfterFunc(ctx, func() { _ = s.Abort() })
	status, err := s.request(u, header)
	if err == nil && status != http.StatusOK {
		err = &carrier.StatusError{Code: status, Want: http.StatusOK}
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if c.debug {
		c.log.DebugContext(ctx, "h3 stream opened",
			"stream", int64(raw.StreamID()), "status", status, "err", err)
	}
	if err != nil {
		_ = s.Abort()
		return nil, err
	}
	return s, nil
}

// openStream opens a QUIC stream if the server has leave for one.
func (c *Conn) openStream(ctx context.Context) (*http3.RequestStream, error) {
	patience, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	raw, err := c.http.OpenRequestStream(patience)
	switch {
	case err == nil:
		return raw, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, net.ErrClosed):
		return nil, &retryError{c.because(err)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if patience.Err() != nil {
		c.full = time.Now().Add(fullTime)
		return nil, carrier.ErrFull
	}
	c.draining = true // all that is left (RFC 9114, section 5.2)
	return nil, errGoingAway
}

// newRequest is the request for a WebSocket. The path goes out as it is.
func newRequest(u *url.URL, header http.Header) *http.Request {
	target := *u
	target.Scheme = "https"
	h := header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	h.Set("Sec-Websocket-Version", "13")
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // keeps http3 from sending its own
	}
	return &http.Request{
		Method: http.MethodConnect, Proto: "websocket", URL: &target, Host: h.Get("Host"), Header: h,
	}
}

// request sends the request and returns the status of the response.
func (s *Stream) request(u *url.URL, header http.Header) (int, error) {
	if err := s.raw.SendRequestHeader(newRequest(u, header)); err != nil {
		return 0, s.unanswered(err)
	}
	for range maxInterim {
		response, err := s.raw.ReadResponse() //nolint:bodyclose // it is the stream itself
		if err != nil {
			return 0, s.unanswered(err)
		}
		if response.StatusCode >= http.StatusOK {
			return response.StatusCode, nil
		}
	}
	return 0, errors.New("server sends interim responses without end")
}

// unanswered explains the failure of a request. Where the connection is lost, another may be tried: nothing
// but the request was sent.
func (s *Stream) unanswered(err error) error {
	if errors.Is(err, io.EOF) {
		return errNoResponse
	}
	err = s.why(err)
	if lost, ok := errors.AsType[*ConnError](err); ok {
		return &retryError{lost}
	}
	return err
}
