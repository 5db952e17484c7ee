package outlinetest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// opener opens a WebSocket's bytes on one shared connection. The error of what is not opened tells why.
type opener func(ctx context.Context, url string, header http.Header) (net.Conn, *http.Response, error)

// carriers are the ways to a server, each over a connection of its own that ends with the test.
var carriers = map[string]struct {
	protocols outlinetest.Protocols
	connect   func(*testing.T, *outlinetest.Server) opener
}{
	"h2": {outlinetest.HTTP1 | outlinetest.HTTP2, connectH2},
	"h3": {outlinetest.HTTP1 | outlinetest.HTTP3, connectH3},
}

// request is an extended CONNECT for rawURL.
func request(ctx context.Context, rawURL string, header http.Header) *http.Request {
	u, err := url.Parse(rawURL)
	if err != nil {
		panic(err)
	}
	u.Scheme = "https"
	r := &http.Request{
		Method: http.MethodConnect, URL: u, Host: u.Host, Header: header.Clone(), ContentLength: -1,
		Proto: "HTTP/2.0", ProtoMajor: 2,
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header.Set("Sec-WebSocket-Version", "13")
	return r.WithContext(ctx)
}

// dialTLS opens a TLS connection with ALPN h2.
func dialTLS(t *testing.T, s *outlinetest.Server) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: s.CertPool(), NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func connectH2(t *testing.T, s *outlinetest.Server) opener {
	t.Helper()
	return connectH2With(t, s, &http.HTTP2Config{})
}

func connectH2With(t *testing.T, s *outlinetest.Server, config *http.HTTP2Config) opener {
	t.Helper()
	//nolint:staticcheck // net/http itself does not let :protocol through
	transport, err := http2.ConfigureTransports(&http.Transport{HTTP2: config})
	if err != nil {
		t.Fatal(err)
	}
	c, err := transport.NewClientConn(dialTLS(t, s)) //nolint:staticcheck // the same
	if err != nil {
		t.Fatal(err)
	}
	var pumps sync.WaitGroup
	t.Cleanup(func() { _ = c.Close(); pumps.Wait() })
	return func(ctx context.Context, rawURL string, header http.Header) (net.Conn, *http.Response, error) {
		ours, theirs := net.Pipe()
		r := request(ctx, rawURL, header)
		r.Header.Set(":protocol", "websocket")
		r.Body = uploading{theirs}
		response, err := c.RoundTrip(r)
		if err != nil {
			return nil, nil, err
		}
		if response.StatusCode != http.StatusOK {
			return nil, response, fmt.Errorf("status %d", response.StatusCode)
		}
		conn := &pumped{Conn: ours}
		pumps.Go(func() {
			_, err := io.Copy(theirs, response.Body)
			conn.fail(err)
			_ = response.Body.Close()
			_ = theirs.Close()
		})
		return conn, response, nil
	}
}

// uploading is a request's body, whose Close ends that half alone.
type uploading struct{ net.Conn }

func (u uploading) Close() error { return u.SetReadDeadline(time.Now()) }

// pumped is a stream of the library as a connection with deadlines. Its end tells why.
type pumped struct {
	net.Conn
	mu  sync.Mutex
	err error
}

func (p *pumped) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *pumped) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, io.EOF) && p.err != nil {
		err = p.err
	}
	return n, err
}

func connectH3(t *testing.T, s *outlinetest.Server) opener {
	t.Helper()
	open, err := dialH3(t, s, &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// dialH3 opens a QUIC connection from a port of its own.
func dialH3(t *testing.T, s *outlinetest.Server, config *quic.Config) (opener, error) {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if strings.HasPrefix(s.Addr(), "127.") {
		_ = udp.Close()
		udp, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	}
	if err != nil {
		t.Fatal(err)
	}
	q := &quic.Transport{Conn: udp}
	t.Cleanup(func() { _ = q.Close(); _ = udp.Close() })
	addr, err := net.ResolveUDPAddr("udp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	trust := &tls.Config{RootCAs: s.CertPool(), NextProtos: []string{http3.NextProtoH3}}
	conn, err := q.Dial(t.Context(), addr, trust, config)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0x100, "") })
	c := (&http3.Transport{}).NewClientConn(conn)
	return func(ctx context.Context, rawURL string, header http.Header) (net.Conn, *http.Response, error) {
		select {
		case <-c.ReceivedSettings():
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		if !c.Settings().EnableExtendedConnect {
			return nil, nil, errors.New("no extended CONNECT")
		}
		stream, err := c.OpenRequestStream(ctx)
		if err != nil {
			return nil, nil, err
		}
		defer context.AfterFunc(ctx, func() { stream.CancelRead(0x10c); stream.CancelWrite(0x10c) })()
		r := request(ctx, rawURL, header)
		r.Proto, r.ProtoMajor = "websocket", 3
		if err := stream.SendRequestHeader(r); err != nil {
			return nil, nil, err
		}
		response, err := stream.ReadResponse()
		if err != nil {
			return nil, nil, err
		}
		if response.StatusCode != http.StatusOK {
			return nil, response, fmt.Errorf("status %d", response.StatusCode)
		}
		return h3Stream{stream, conn}, response, nil
	}, nil
}

// h3Stream is a stream of the library as a connection.
type h3Stream struct {
	*http3.RequestStream
	conn *quic.Conn
}

func (s h3Stream) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s h3Stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

func (s h3Stream) Close() error {
	s.CancelRead(0x100)
	return s.RequestStream.Close()
}

// switching answers the handshake of HTTP/1.1, so that gorilla's client speaks over an opened stream.
type switching struct {
	net.Conn
	answer *bytes.Reader
}

func (c *switching) Write(p []byte) (int, error) {
	if c.answer != nil {
		return c.Conn.Write(p)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p)))
	if err != nil {
		return 0, err
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	c.answer = bytes.NewReader(fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:])))
	return len(p), nil
}

func (c *switching) Read(p []byte) (int, error) {
	if c.answer.Len() > 0 {
		return c.answer.Read(p)
	}
	return c.Conn.Read(p)
}

// dialOver is dial over an opener.
func dialOver(t *testing.T, s *outlinetest.Server, open opener, rawURL string) (*client, error) {
	t.Helper()
	conn, _, err := open(t.Context(), rawURL, nil)
	if err != nil {
		return nil, err
	}
	return over(t, s, conn), nil
}

// over makes a client of an opened stream.
func over(t *testing.T, s *outlinetest.Server, conn net.Conn) *client {
	t.Helper()
	u, err := url.Parse(s.StreamURL())
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme = "ws" // TLS is below
	d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) {
		return &switching{Conn: conn}, nil
	}}
	ws, r, err := d.DialContext(t.Context(), u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	c := &client{t: t, ws: ws}
	t.Cleanup(func() { _ = ws.Close() })
	ws.SetCloseHandler(func(code int, _ string) error { c.code = code; return nil })
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	c.setCipher(s.Cipher(), s.Secret())
	return c
}

func mustDialOver(t *testing.T, s *outlinetest.Server, open opener, rawURL string) *client {
	t.Helper()
	c, err := dialOver(t, s, open, rawURL)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	return c
}

// muxTest is a test over a connection to a server.
type muxTest = func(*testing.T, *outlinetest.Server, opener)

// eachCarrier runs a test over every carrier, with a server of its own.
func eachCarrier(t *testing.T, config outlinetest.Config, test muxTest) {
	t.Helper()
	for name, carrier := range carriers {
		t.Run(name, func(t *testing.T) {
			config.Protocols = carrier.protocols
			s := start(t, config)
			test(t, s, carrier.connect(t, s))
		})
	}
}
