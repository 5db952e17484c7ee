package shadowsocks

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// wsPeer is the server's end of a WebSocket as a stream, built on another implementation.
type wsPeer struct {
	transport.StreamConn
	left []byte
	end  error

	mu     sync.Mutex
	closed bool
}

func (p *wsPeer) Read(b []byte) (int, error) {
	for len(p.left) == 0 && p.end == nil {
		p.left, p.end = p.next()
	}
	if p.end != nil {
		return 0, p.end
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

func (p *wsPeer) next() ([]byte, error) {
	h, err := ws.ReadHeader(p.StreamConn)
	if err != nil {
		return nil, noEOF(err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(p.StreamConn, payload); err != nil {
		return nil, noEOF(err)
	}
	ws.Cipher(payload, h.Mask, 0)
	switch h.OpCode {
	case ws.OpBinary:
		return payload, nil
	case ws.OpClose:
		return nil, io.EOF
	default:
		return nil, errors.New("client sent neither a binary message nor a close frame")
	}
}

func (p *wsPeer) send(f ws.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	p.closed = f.Header.OpCode == ws.OpClose
	return ws.WriteFrame(p.StreamConn, f)
}

func (p *wsPeer) Write(b []byte) (int, error) { return len(b), p.send(ws.NewBinaryFrame(b)) }

func (p *wsPeer) CloseWrite() error {
	return p.send(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
}

func (p *wsPeer) Abort() error { return transport.Abort(p.StreamConn) }

func TestConformance(t *testing.T) {
	t.Parallel() // most of it is waiting
	const name = "aes-128-gcm"
	transporttest.Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
		client, server := transporttest.Pipe()
		return dial(t, client, name), newPeer(server, newPeerKey(name, testSecret))
	})
}

func TestConformanceOverWebSocket(t *testing.T) {
	t.Parallel() // most of it is waiting
	const name = "chacha20-ietf-poly1305"
	transporttest.Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
		client, server := transporttest.Pipe()
		return dial(t, websocket.NewStream(client, websocket.Options{}), name),
			newPeer(&wsPeer{StreamConn: server}, newPeerKey(name, testSecret))
	})
}

func TestConformanceOverTCP(t *testing.T) {
	t.Parallel() // most of it is waiting
	const name = "aes-256-gcm"
	transporttest.Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
		client, server := transporttest.TCPPair(t)
		return dial(t, client, name), newPeer(server, newPeerKey(name, testSecret))
	})
}
