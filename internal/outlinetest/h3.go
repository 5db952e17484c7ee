package outlinetest

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const quicIdle = time.Minute

// h3Port is the UDP port of HTTP/3.
type h3Port struct {
	server    *Server
	socket    *udpSocket
	transport *quic.Transport
	listener  *quic.EarlyListener
}

// openQUIC opens the UDP port with the number of the TCP port, if there is one.
func (s *Server) openQUIC() error {
	addr, err := net.ResolveUDPAddr("udp", s.addr)
	if err != nil {
		return err
	}
	udp, err := net.ListenUDP("udp", addr)
	if err != nil {
		return err
	}
	p := &h3Port{server: s, socket: newUDPSocket(udp, &s.fault)}
	p.transport = &quic.Transport{Conn: p.socket}
	config := http3.ConfigureTLSConfig(&tls.Config{Certificates: s.tls.Certificates})
	p.listener, err = p.transport.ListenEarly(config, p.config())
	if err != nil {
		_ = udp.Close()
		return err
	}
	s.addr, s.quic = udp.LocalAddr().String(), p
	s.running.Go(p.accept)
	return nil
}

// config makes what connections announce, each from the fault of its moment.
func (p *h3Port) config() *quic.Config {
	base := &quic.Config{
		MaxIdleTimeout:     quicIdle,
		MaxIncomingStreams: muxStreams,
		Allow0RTT:          true,
	}
	base.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) {
		m, c := p.server.fault.load().Mux, base.Clone()
		// With 0-RTT, SETTINGS cannot take back what they once said (RFC 9114, section 7.2.4.2).
		c.Allow0RTT = !m.NoConnect
		if m.MaxStreams > 0 {
			c.MaxIncomingStreams = int64(m.MaxStreams)
		}
		if m.Window > 0 {
			c.InitialStreamReceiveWindow, c.MaxStreamReceiveWindow = uint64(m.Window), uint64(m.Window)
		}
		if m.ConnWindow > 0 {
			c.InitialConnectionReceiveWindow = uint64(m.ConnWindow)
			c.MaxConnectionReceiveWindow = uint64(m.ConnWindow)
		}
		return c, nil
	}
	return base
}

func (p *h3Port) accept() {
	for {
		c, err := p.listener.Accept(p.server.ctx)
		if err != nil {
			return
		}
		p.server.running.Go(func() { p.server.serveQUIC(c) })
	}
}

// close ends the port and its connections, and waits for what reads it.
func (p *h3Port) close() {
	_ = p.listener.Close()
	_ = p.transport.Close()
	_ = p.socket.Close()
}

// serveQUIC serves a connection to its end.
func (s *Server) serveQUIC(c *quic.Conn) {
	if !s.trackQUIC(c) {
		return
	}
	defer s.untrackQUIC(c)
	if s.fault.load().Mux.NoConnect {
		serveBareH3(c)
		return
	}
	h := &h3Conn{server: s, quic: c}
	h.http = &http3.Server{Handler: h, MaxHeaderBytes: maxHead}
	s.running.Go(h.nag)
	_ = h.http.ServeQUICConn(c)
}

func (s *Server) trackQUIC(c *quic.Conn) bool {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.quics[c] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		resetQUIC(c)
		return false
	}
	s.stats.update(func(t *Stats) { t.Mux.QUIC++; t.Mux.OpenQUIC++ })
	return true
}

func (s *Server) untrackQUIC(c *quic.Conn) {
	resetQUIC(c)
	s.mu.Lock()
	delete(s.quics, c)
	s.mu.Unlock()
	s.stats.update(func(t *Stats) { t.Mux.OpenQUIC-- })
}

// resetQUIC closes a connection with all its streams, unless it has ended.
func resetQUIC(c *quic.Conn) {
	_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
}

// serveBareH3 is a server of HTTP/3 without the extended CONNECT, which our library cannot be: SETTINGS are
// empty, and every request is malformed (RFC 9220, section 3).
func serveBareH3(c *quic.Conn) {
	control, err := c.OpenUniStream()
	if err != nil {
		return
	}
	// A control stream with an empty SETTINGS frame (RFC 9114, sections 6.2.1 and 7.2.4).
	if _, err := control.Write([]byte{0, 4, 0}); err != nil {
		return
	}
	for {
		request, err := c.AcceptStream(c.Context())
		if err != nil {
			return
		}
		request.CancelRead(quic.StreamErrorCode(http3.ErrCodeMessageError))
		request.CancelWrite(quic.StreamErrorCode(http3.ErrCodeMessageError))
	}
}

// h3Conn is a client's HTTP/3 connection.
type h3Conn struct {
	server *Server
	quic   *quic.Conn
	http   *http3.Server
	seen   atomic.Int64 // requests, for Mux.RefuseEvery
}

// nag sends what the fault wants sent by time, until the connection ends.
func (h *h3Conn) nag() {
	for {
		f, changed := h.server.fault.watch()
		var goAway <-chan time.Time
		if f.Mux.GoAwayEvery > 0 {
			goAway = time.After(f.Mux.GoAwayEvery)
		}
		select {
		case <-changed:
		case <-goAway:
			// GOAWAY, and the end once the client has closed.
			_ = h.http.Shutdown(h.quic.Context())
			return
		case <-h.quic.Context().Done():
			return
		}
	}
}

// ServeHTTP serves one request.
func (h *h3Conn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protocol := ""
	if r.Method == http.MethodConnect {
		protocol = r.Proto // where the library puts it
	}
	h.server.stats.request(r, "HTTP/3.0", h3Head(r, protocol))
	l := &h3Lane{server: h.server, quic: h.quic, over: r.Context().Done()}
	every := h.server.fault.load().Mux.RefuseEvery
	if every > 0 && h.seen.Add(1)%int64(every) == 0 {
		l.refuse(w)
		return
	}
	h.server.serveRequest(&h3Response{ResponseWriter: w, lane: l}, asUpgrade(r, protocol), l)
	_ = l.Close()
}

var _ http.Handler = (*h3Conn)(nil)

// h3Head lists the fields of a request. The library does not tell in which order they came.
func h3Head(r *http.Request, protocol string) string {
	var head strings.Builder
	field := func(name, value string) {
		_, _ = fmt.Fprintf(&head, "%s: %s\r\n", name, value)
	}
	field(":method", r.Method)
	field(":authority", r.Host)
	field(":path", r.RequestURI)
	if protocol != "" {
		field(":protocol", protocol)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			field(strings.ToLower(name), value)
		}
	}
	return head.String()
}
