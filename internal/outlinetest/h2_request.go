package outlinetest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// request makes a request of a HEADERS frame and records it. It returns :protocol besides.
func (h *h2Conn) request(f *http2.MetaHeadersFrame) (*http.Request, string, error) {
	malformed := func(what string) error {
		h.blame(what)
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	}
	if f.Truncated {
		return nil, "", malformed("request head too large")
	}
	path, protocol := f.PseudoValue("path"), f.PseudoValue("protocol")
	target, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, "", malformed("bad :path")
	}
	r := &http.Request{
		Method: f.PseudoValue("method"), URL: target, RequestURI: path, Host: f.PseudoValue("authority"),
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header), Body: http.NoBody,
		RemoteAddr: h.tcp.RemoteAddr().String(),
	}
	var head strings.Builder
	for _, field := range f.Fields {
		_, _ = fmt.Fprintf(&head, "%s: %s\r\n", field.Name, field.Value)
		if field.IsPseudo() {
			continue
		}
		if connectionField(field) {
			return nil, "", malformed("field of HTTP/1.1: " + field.Name)
		}
		r.Header.Add(textproto.CanonicalMIMEHeaderKey(field.Name), field.Value)
	}
	h.server.stats.request(r, r.Proto, head.String())
	switch {
	case r.Method == "" || f.PseudoValue("scheme") != "https":
		return nil, "", malformed("bad :method or :scheme")
	case protocol != "" && r.Method != http.MethodConnect:
		return nil, "", malformed(":protocol without CONNECT")
	case protocol != "" && h.mux.NoConnect:
		return nil, "", malformed("extended CONNECT that was not announced")
	}
	return r, protocol, nil
}

// connectionField tells whether HTTP/2 forbids a field (RFC 9113, section 8.2.2).
func connectionField(f hpack.HeaderField) bool {
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	case "te":
		return f.Value != "trailers"
	default:
		return false
	}
}

// start serves a request on a stream of its own.
func (h *h2Conn) start(f *http2.MetaHeadersFrame, r *http.Request) {
	s := newH2Stream(h, f.StreamID)
	h.mu.Lock()
	s.send, s.recv = h.flow.initial, h.flow.granted
	s.ended = f.StreamEnded()
	h.streams[s.id] = s
	h.open++
	h.mu.Unlock()
	h.running.Go(func() {
		h.server.serveRequest(&h2Response{stream: s, header: make(http.Header)}, r, s)
		_ = s.Close()
		h.maybeLeave()
	})
}

// h2Response answers on a stream, which its owner closes.
type h2Response struct {
	stream  *h2Stream
	header  http.Header
	started bool
}

var (
	_ http.ResponseWriter = (*h2Response)(nil)
	_ http.Hijacker       = (*h2Response)(nil)
)

func (w *h2Response) Header() http.Header { return w.header }

func (w *h2Response) WriteHeader(status int) { _ = w.reply(status) }

func (w *h2Response) reply(status int) error {
	if w.started {
		return nil
	}
	w.started = true
	fields := []hpack.HeaderField{
		{Name: ":status", Value: strconv.Itoa(status)},
		{Name: "date", Value: time.Now().UTC().Format(http.TimeFormat)},
	}
	for name, values := range w.header {
		for _, value := range values {
			fields = append(fields, hpack.HeaderField{Name: strings.ToLower(name), Value: value})
		}
	}
	return w.stream.reply(fields)
}

func (w *h2Response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.stream.Write(p)
}

// Hijack sends the 200 that RFC 8441, section 5, has for the 101 that the caller is about to write.
func (w *h2Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := w.reply(http.StatusOK); err != nil {
		return nil, nil, err
	}
	up := &upgraded{lane: w.stream}
	return up, bufio.NewReadWriter(bufio.NewReader(up), bufio.NewWriter(up)), nil
}
