package outlinetest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

const maxHead = 64 << 10 // bytes of an HTTP request's head

// serve takes a connection through TLS and HTTP to its endpoint.
func (s *Server) serve(tcp *net.TCPConn) {
	c := s.track(tcp)
	if c == nil {
		return
	}
	defer s.untrack(c)
	f := s.fault.load()
	if f.Stage == ResetTCP {
		c.reset()
		return
	}
	if f.Stage == StallTLS {
		c.stall()
		return
	}
	if f.ReadRate > 0 {
		_ = c.tcp.SetReadBuffer(slowBuffer)
	}
	// Lifted when the WebSocket opens.
	_ = c.SetDeadline(time.Now().Add(openingTimeout))
	if s.tls == nil {
		s.serveHTTP(c, c)
		return
	}
	secure := tls.Server(c, s.tls)
	defer func() { _ = secure.Close() }() // with close_notify, so that an HTTP body ends well
	if err := secure.HandshakeContext(s.ctx); err != nil {
		s.stats.update(func(t *Stats) { t.BadTLS++ })
		return
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		s.serveH2(c, secure)
		return
	}
	s.serveHTTP(c, secure)
}

// serveHTTP answers the one request of an HTTP/1.1 connection. above is c, or TLS over it.
func (s *Server) serveHTTP(c *conn, above net.Conn) {
	head := &headReader{from: above}
	from := bufio.NewReader(head)
	r, err := http.ReadRequest(from)
	if err != nil {
		return
	}
	s.stats.request(r, "HTTP/1.1", string(head.seen))
	s.serveRequest(&response{conn: above, from: from, header: make(http.Header)}, r, tcpLane{above, c})
}

// serveRequest answers a request of any HTTP version, which has the form that HTTP/1.1 gives it. w can be
// hijacked, for l.
func (s *Server) serveRequest(w http.ResponseWriter, r *http.Request, l lane) {
	endpoint, ok := map[string]Endpoint{
		s.config.StreamPath: StreamEndpoint,
		s.config.PacketPath: PacketEndpoint,
	}[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	f := s.fault.on(endpoint)
	if f.Stage == StallHTTP {
		s.stall(l)
		return
	}
	s.pause(f.Delay, l.done())
	if f.Status != 0 {
		http.Error(w, http.StatusText(f.Status), f.Status)
		return
	}
	// The buffers stay those of the HTTP server, 4096 bytes, because Outline's server does not set them
	// either.
	upgrader := websocket.Upgrader{}
	if s.config.AnyOrigin {
		upgrader.CheckOrigin = func(*http.Request) bool { return true }
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.serveSocket(newSocket(s, ws, l, endpoint))
}

// serveSocket runs one WebSocket.
func (s *Server) serveSocket(c *socket) {
	s.enter(c)
	defer s.leave(c)
	switch f := s.fault.on(c.endpoint); {
	case f.Stage == StallOpened:
		s.stall(c.lane)
	case f.Stage == Blackhole:
		_, _ = io.Copy(io.Discard, c)
		c.outwait()
	case c.endpoint == PacketEndpoint:
		s.servePacket(c)
	default:
		s.serveStream(c)
	}
}

// headReader records the head of a request as it came and bounds it.
type headReader struct {
	from io.Reader
	seen []byte
}

func (h *headReader) Read(p []byte) (int, error) {
	if len(h.seen) >= maxHead {
		return 0, errors.New("request head too large")
	}
	n, err := h.from.Read(p)
	h.seen = append(h.seen, p[:n]...)
	return n, err
}

// response writes to a connection that ends with it, unless it is hijacked.
type response struct {
	conn    net.Conn
	from    *bufio.Reader
	header  http.Header
	started bool
}

var (
	_ http.ResponseWriter = (*response)(nil)
	_ http.Hijacker       = (*response)(nil)
)

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.started {
		return
	}
	w.started = true
	w.header.Set("Connection", "close")
	_, _ = fmt.Fprintf(w.conn, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = w.header.Write(w.conn)
	_, _ = io.WriteString(w.conn, "\r\n")
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.conn.Write(p)
}

func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(w.from, bufio.NewWriter(w.conn)), nil
}
