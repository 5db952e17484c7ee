package websocket

import (
	"context"
	"net"
	"sync"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// maxMessage is the longest datagram with what Shadowsocks adds: salt, address and tag.
const maxMessage = 65535 + 32 + 259 + 16

// packetFrame is the room for a datagram as Outline's server takes it (at most 4088 bytes) and its header.
const packetFrame = 4096 + maxClientHeader

// Packets is a WebSocket that carries one datagram a message: each Write is one message and each Read returns
// one. A message that does not fit the buffer is dropped whole.
type Packets struct {
	conn
	lost bool // part of the current message is gone, because a deadline interrupted the read
}

var (
	_ net.Conn                 = (*Packets)(nil)
	_ transport.HeadroomWriter = (*Packets)(nil)
	_ transport.WaitReader     = (*Packets)(nil)
	_ transport.Aborter        = (*Packets)(nil)
)

// NewPackets makes a Packets of a carrier whose WebSocket handshake is done. The Packets owns the carrier.
func NewPackets(carrier transport.StreamConn, o Options) *Packets {
	p := new(Packets)
	// A server never waits for the target of a datagram, so one that does not read is dead.
	p.init(carrier, o, func() bool { return false })
	return p
}

// WaitRead implements transport.WaitReader: it returns when a message has begun to arrive.
func (p *Packets) WaitRead() error {
	for p.in.left == 0 {
		if err := p.in.advance(); err != nil {
			return p.why(err)
		}
		if !p.in.inMessage { // an empty message, or the end of one
			p.lost = false
		}
	}
	return nil
}

// Read implements net.Conn: it returns one message. Empty messages and those longer than b are passed over.
func (p *Packets) Read(b []byte) (int, error) {
	for n := 0; ; {
		m, err := p.readPart(b, n)
		n += m
		if err != nil {
			p.lost = p.lost || n > 0
			return 0, p.why(err)
		}
		if p.in.inMessage {
			continue
		}
		if n > 0 && n <= len(b) && !p.lost {
			return n, nil
		}
		n, p.lost = 0, false
	}
}

// readPart reads a frame's header or some of its payload, to where n bytes of the message stand already.
func (p *Packets) readPart(b []byte, n int) (int, error) {
	if p.in.left == 0 {
		return 0, p.in.advance()
	}
	dst := b[min(n, len(b)):]
	if len(dst) == 0 {
		dst = make([]byte, 512) // too long a message: read on only to get past it
	}
	return p.in.read(dst)
}

// Write implements net.Conn: p becomes one message, written with one call, because Outline's server loses
// messages that share a TLS record.
func (p *Packets) Write(b []byte) (int, error) {
	front, back := p.Headroom().Front, p.out.room.Back
	if len(b) > packetFrame-front-back {
		buf := make([]byte, front+len(b)+back)
		copy(buf[front:], b)
		return written(b, p.write(buf, front, back))
	}
	buf := packetFrames.Get().(*[packetFrame]byte)
	defer packetFrames.Put(buf)
	copy(buf[front:], b)
	return written(b, p.write(buf[:front+len(b)+back], front, back))
}

// packetFrames holds buffers in which Write masks a copy of what it was given.
var packetFrames = sync.Pool{New: func() any { return new([packetFrame]byte) }}

func written(b []byte, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// Headroom implements transport.HeadroomWriter, for messages of any length.
func (p *Packets) Headroom() transport.Headroom {
	room := p.out.room
	return transport.Headroom{Front: room.Front + maxClientHeader, Back: room.Back, Max: maxMessage}
}

// WriteHeadroom implements transport.HeadroomWriter; the payload becomes one message.
func (p *Packets) WriteHeadroom(buf []byte, front, back int) error {
	return p.write(buf, front, back)
}

// PacketEndpoint opens Packets over the carriers of another endpoint.
type PacketEndpoint struct {
	Carrier transport.StreamEndpoint
	Options Options
}

var _ transport.PacketEndpoint = PacketEndpoint{}

// ConnectPacket implements transport.PacketEndpoint.
func (e PacketEndpoint) ConnectPacket(ctx context.Context) (net.Conn, error) {
	carrier, err := e.Carrier.ConnectStream(ctx)
	if err != nil {
		return nil, err
	}
	return NewPackets(carrier, e.Options), nil
}
