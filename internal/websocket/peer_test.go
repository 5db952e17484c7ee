package websocket

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is the server's end of a WebSocket, built on another implementation of RFC 6455. As Outline's server
// does, it takes a Close frame for the end of one direction.
type peer struct {
	transport.StreamConn
	left []byte
	end  error // what Read returned last, for good

	mu     sync.Mutex
	closed bool
	pongs  chan []byte // payloads of the client's pongs, if somebody listens
	mute   bool        // answers no pings
}

// newPair connects a client's carrier with a peer in memory.
func newPair() (carrier *transporttest.PipeConn, p *peer) {
	a, b := transporttest.Pipe()
	return a, &peer{StreamConn: b, pongs: make(chan []byte, 16)}
}

// frame reads one frame and unmasks it.
func (p *peer) frame() (ws.Frame, error) {
	var f ws.Frame
	var err error
	if f.Header, err = ws.ReadHeader(p.StreamConn); err != nil {
		return f, noClose(err)
	}
	f.Payload = make([]byte, f.Header.Length)
	if _, err := io.ReadFull(p.StreamConn, f.Payload); err != nil {
		return f, noClose(err)
	}
	if !f.Header.Masked || f.Header.Rsv != 0 {
		return f, errors.New("client's frame is not masked or has reserved bits")
	}
	return ws.UnmaskFrameInPlace(f), nil
}

func noClose(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (p *peer) Read(b []byte) (int, error) {
	for len(p.left) == 0 {
		if p.end == nil {
			p.left, p.end = p.next()
		}
		if p.end != nil {
			return 0, p.end
		}
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// next returns the next message's payload, or how the client ended.
func (p *peer) next() ([]byte, error) {
	for {
		f, err := p.frame()
		if err != nil {
			return nil, err
		}
		switch f.Header.OpCode {
		case ws.OpBinary:
			return f.Payload, nil
		case ws.OpPing:
			if !p.mute {
				p.send(ws.NewPongFrame(f.Payload))
			}
		case ws.OpPong:
			p.pongs <- f.Payload
		case ws.OpClose:
			if code, _ := ws.ParseCloseFrameData(f.Payload); code != 1000 {
				return nil, errors.New("client closed with another code")
			}
			return nil, io.EOF
		default:
			return nil, errors.New("client sent something else than binary messages")
		}
	}
}

func (p *peer) send(f ws.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	p.closed = f.Header.OpCode == ws.OpClose
	return ws.WriteFrame(p.StreamConn, f)
}

func (p *peer) Write(b []byte) (int, error) {
	if err := p.send(ws.NewBinaryFrame(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (p *peer) CloseWrite() error { return p.sendClose(1000) }

func (p *peer) sendClose(code ws.StatusCode) error {
	return p.send(ws.NewCloseFrame(ws.NewCloseFrameBody(code, "")))
}

func (p *peer) Abort() error { return transport.Abort(p.StreamConn) }

func TestConformance(t *testing.T) {
	transporttest.Conformance(t, func(*testing.T) (a, b transport.StreamConn) {
		carrier, p := newPair()
		return NewStream(carrier, Options{}), p
	})
}

func TestConformanceOverTCP(t *testing.T) {
	transporttest.Conformance(t, func(t *testing.T) (a, b transport.StreamConn) {
		client, server := transporttest.TCPPair(t)
		return NewStream(client, Options{}), &peer{StreamConn: server, pongs: make(chan []byte, 16)}
	})
}
