package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Paths of the two endpoints. In a real deployment they are secrets.
const (
	StreamPath = "/kX3secret/stream"
	PacketPath = "/kX3secret/packet"
)

// Bridge is the WebSocket side of an Outline server: it carries the messages of its two endpoints to a plain
// Shadowsocks server.
type Bridge struct {
	Addr string

	backend Backend
	server  *http.Server
	flows   sync.WaitGroup

	mu       sync.Mutex
	open     map[net.Conn]struct{} // the client side of every open flow
	closed   []FlowEnd
	requests []Request
}

// Backend is the addresses of the Shadowsocks server of a bridge.
type Backend struct {
	TCP, UDP string
}

// Request is what a bridge notes of a request.
type Request struct {
	// Version is the major version of HTTP in which the request reached the front, as the front says in Via
	// (RFC 9110, section 7.6.3); empty without it.
	Version string
	Query   string
}

// FlowEnd says how a stream flow ended. An error is nil when that half ended with a Close frame or a FIN.
type FlowEnd struct {
	Sent, Received int64 // client to Shadowsocks server; the reverse
	SendErr        error // of the half that the client sends
	ReceiveErr     error
}

// StartBridge serves on host until the test ends.
func StartBridge(t *testing.T, host netip.Addr, backend Backend) *Bridge {
	t.Helper()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	b := &Bridge{Addr: listener.Addr().String(), backend: backend, open: make(map[net.Conn]struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc(StreamPath, b.accept(b.serveStream))
	mux.HandleFunc(PacketPath, b.accept(b.servePacket))
	b.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{}) // closed when Serve has returned
	go func() {
		defer close(served)
		if err := b.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("bridge: %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = b.server.Close()
		<-served
		b.Cut()
		b.flows.Wait()
	})
	return b
}

// Cut resets every open flow: TCP ends without a Close frame.
func (b *Bridge) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.open {
		reset(conn)
	}
}

// Ended lists how the stream flows ended that are over.
func (b *Bridge) Ended() []FlowEnd {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]FlowEnd(nil), b.closed...)
}

// Requests lists what reached the bridge so far.
func (b *Bridge) Requests() []Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Request(nil), b.requests...)
}

// WaitEnded waits until n stream flows are over and lists them.
func (b *Bridge) WaitEnded(ctx context.Context, n int) ([]FlowEnd, error) {
	for {
		if ended := b.Ended(); len(ended) >= n {
			return ended, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d flows ended at the bridge: %w", len(b.Ended()), n, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// accept upgrades a request and gives the WebSocket to serve.
func (b *Bridge) accept(serve func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b.flows.Add(1)
		defer b.flows.Done()
		b.note(r)
		upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		defer ws.Close()
		// A Close frame ends one half. gorilla's own handler would answer it at once and so end the other.
		ws.SetCloseHandler(func(int, string) error { return nil })
		b.track(ws.NetConn())
		defer b.forget(ws.NetConn())
		serve(ws)
	}
}

func (b *Bridge) note(r *http.Request) {
	version, _, _ := strings.Cut(r.Header.Get("Via"), " ")
	major, _, _ := strings.Cut(version, ".")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, Request{Version: major, Query: r.URL.RawQuery})
}

func (b *Bridge) track(conn net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[conn] = struct{}{}
}

func (b *Bridge) forget(conn net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, conn)
}

// serveStream carries the bytes of binary messages to the backend's TCP port and back. The flow is over when
// both halves are: the WebSocket is closed only then.
func (b *Bridge) serveStream(ws *websocket.Conn) {
	conn, err := net.Dial("tcp", b.backend.TCP)
	if err != nil {
		reset(ws.NetConn())
		return
	}
	backend := conn.(*net.TCPConn)
	defer backend.Close()
	var end FlowEnd
	var halves sync.WaitGroup
	var answered atomic.Bool // our Close frame is out, or about to be
	halves.Go(func() {
		end.Sent, end.SendErr = sendStream(backend, ws)
		if end.SendErr == nil {
			end.SendErr = watchCarrier(ws.NetConn(), &answered)
		}
		if end.SendErr != nil {
			reset(backend) // ends the other half too
		}
	})
	halves.Go(func() {
		end.Received, end.ReceiveErr = receiveStream(ws, backend, &answered)
		if end.ReceiveErr != nil {
			reset(ws.NetConn())
		}
	})
	halves.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = append(b.closed, end)
}

// sendStream carries the client's messages until its Close frame, which becomes a FIN. An empty message is an
// end to Outline's server, so it is one here.
func sendStream(backend *net.TCPConn, ws *websocket.Conn) (int64, error) {
	var sent int64
	for {
		kind, message, err := ws.NextReader()
		if isCloseFrame(err) {
			return sent, backend.CloseWrite()
		}
		if err != nil {
			return sent, err
		}
		if kind != websocket.BinaryMessage {
			return sent, fmt.Errorf("message of type %d", kind)
		}
		n, err := io.Copy(backend, message)
		sent += n
		if err != nil {
			return sent, err
		}
		if n == 0 {
			return sent, errors.Join(errors.New("empty message"), backend.CloseWrite())
		}
	}
}

// watchCarrier waits for the end of the answer after the client's Close frame. A client that ends its TCP
// connection in that time breaks the tunnel at most proxies, though not at the Caddy of this suite, which
// hands the FIN on.
func watchCarrier(conn net.Conn, answered *atomic.Bool) error {
	var scrap [1]byte
	for !answered.Load() {
		if err := conn.SetReadDeadline(time.Now().Add(pollInterval)); err != nil {
			return err
		}
		_, err := conn.Read(scrap[:])
		switch {
		case err == nil || errors.Is(err, os.ErrDeadlineExceeded) || answered.Load():
		case errors.Is(err, io.EOF):
			return errors.New("the client ended the carrier before the Close frame of the server")
		default:
			return err
		}
	}
	return nil
}

// receiveStream carries what the backend sends until its FIN, which becomes a Close frame.
func receiveStream(ws *websocket.Conn, backend *net.TCPConn, answered *atomic.Bool) (int64, error) {
	var received int64
	buf := make([]byte, 16383+34) // a Shadowsocks chunk at its largest, as Outline's server sends
	for {
		n, err := backend.Read(buf)
		if n > 0 {
			received += int64(n)
			if err := ws.WriteMessage(websocket.BinaryMessage, buf[:n]); err != nil {
				return received, err
			}
		}
		if errors.Is(err, io.EOF) {
			answered.Store(true)
			return received, sendClose(ws)
		}
		if err != nil {
			return received, err
		}
	}
}

// servePacket carries every binary message to the backend's UDP port as one datagram, and back.
func (b *Bridge) servePacket(ws *websocket.Conn) {
	backend, err := net.Dial("udp", b.backend.UDP)
	if err != nil {
		reset(ws.NetConn())
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, err := backend.Read(buf)
			if err != nil {
				return // closed below
			}
			if ws.WriteMessage(websocket.BinaryMessage, buf[:n]) != nil {
				return
			}
		}
	})
	for {
		kind, message, err := ws.ReadMessage()
		if err != nil || kind != websocket.BinaryMessage {
			break
		}
		_, _ = backend.Write(message) // a datagram may be lost, as after an ICMP error
	}
	_ = backend.Close()
	back.Wait()
	_ = sendClose(ws)
}

func isCloseFrame(err error) bool {
	return websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway,
		websocket.CloseNoStatusReceived)
}

func sendClose(ws *websocket.Conn) error {
	const timeout = 10 * time.Second
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	return ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(timeout))
}

// reset closes conn with RST, so that the peer cannot take it for a clean end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails on a closed socket only
	}
	_ = conn.Close()
}
