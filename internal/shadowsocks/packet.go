package shadowsocks

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// maxDatagram is the longest datagram we take or give, with everything around it.
const maxDatagram = 65535 + maxSalt + socksaddr.MaxLen + tagSize

// packetRoom is what a packet buffer has for the headers of the layers below.
const packetRoom = 64

// PacketListener opens packet sockets that reach any target through the server behind an endpoint.
type PacketListener struct {
	Endpoint transport.PacketEndpoint
	Key      *Key
	// OnBadPacket, if set, is told of every packet from the server that was dropped because it does not open
	// or names no source.
	OnBadPacket func(err error)
}

var _ transport.PacketListener = (*PacketListener)(nil)

// ListenPacket implements transport.PacketListener.
func (l *PacketListener) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	conn, err := l.Endpoint.ConnectPacket(ctx)
	if err != nil {
		return nil, err
	}
	c := &packetConn{conn: conn, key: l.Key, onBad: l.OnBadPacket}
	if h, ok := conn.(transport.HeadroomWriter); ok {
		if room := h.Headroom(); room.Front+room.Back <= packetRoom {
			c.inPlace, c.room = h, room
		}
	}
	return c, nil
}

// packetConn is one association with the server. Every packet has a salt and a key of its own, so packets may
// be written concurrently; they are read by one goroutine at a time.
type packetConn struct {
	conn    net.Conn
	inPlace transport.HeadroomWriter // conn, where it takes messages in place; else nil
	room    transport.Headroom
	key     *Key
	onBad   func(error)

	sources socksaddr.Interner
}

var (
	_ net.PacketConn       = (*packetConn)(nil)
	_ transport.WaitReader = (*packetConn)(nil)
)

type datagram [maxDatagram + packetRoom]byte

var (
	// bigDatagrams hold anything; smallDatagrams what fits an Ethernet frame, which is nearly everything.
	bigDatagrams   = sync.Pool{New: func() any { return new(datagram) }}
	smallDatagrams = sync.Pool{New: func() any { return new([smallDatagram]byte) }}
)

const smallDatagram = 2048

// WriteTo implements net.PacketConn. A payload that cannot be sent whole fails with syscall.EMSGSIZE.
func (c *packetConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	target, err := socksaddr.FromNetAddr(addr)
	if err != nil {
		return 0, err
	}
	if len(p) > 65535 {
		return 0, fmt.Errorf("datagram of %d bytes: %w", len(p), syscall.EMSGSIZE)
	}
	size := c.room.Front + c.key.cipher.SaltSize() + target.Len() + len(p) + tagSize + c.room.Back
	if size <= smallDatagram {
		buf := smallDatagrams.Get().(*[smallDatagram]byte)
		defer smallDatagrams.Put(buf)
		return c.seal(buf[:], p, target)
	}
	buf := bigDatagrams.Get().(*datagram)
	defer bigDatagrams.Put(buf)
	return c.seal(buf[:], p, target)
}

// seal builds salt, target, payload and tag in buf and writes them as one message.
func (c *packetConn) seal(buf, p []byte, target socksaddr.Addr) (int, error) {
	front := c.room.Front
	salt := buf[front : front+c.key.cipher.SaltSize()]
	_, _ = rand.Read(salt) // never fails
	aead, err := c.key.session(salt)
	if err != nil {
		return 0, err
	}
	body := buf[front+len(salt):][:0]
	body = append(target.Append(body), p...)
	var nonce [nonceSize]byte
	sealed := aead.Seal(body[:0], nonce[:], body, nil)
	end := front + len(salt) + len(sealed)
	if c.inPlace != nil {
		err = c.inPlace.WriteHeadroom(buf[:end+c.room.Back], front, c.room.Back)
	} else {
		_, err = c.conn.Write(buf[front:end])
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// WaitRead implements transport.WaitReader.
func (c *packetConn) WaitRead() error {
	if w, ok := c.conn.(transport.WaitReader); ok {
		return w.WaitRead()
	}
	return nil
}

// ReadFrom implements net.PacketConn. What does not open is dropped: a damaged datagram says nothing about
// the connection that carried it. What does not fit p is cut, as net.UDPConn does.
func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if err := c.WaitRead(); err != nil {
			return 0, nil, err
		}
		n, source, err := c.readOne(p)
		if err != nil {
			return 0, nil, err
		}
		if source != nil {
			return n, source, nil
		}
	}
}

// readOne reads one packet; the source is nil when it was dropped.
func (c *packetConn) readOne(p []byte) (int, net.Addr, error) {
	buf := bigDatagrams.Get().(*datagram)
	defer bigDatagrams.Put(buf)
	n, err := c.conn.Read(buf[:])
	if err != nil {
		return 0, nil, err
	}
	payload, source, err := c.unseal(buf[:n])
	if err != nil {
		if c.onBad != nil {
			c.onBad(err)
		}
		return 0, nil, nil
	}
	return copy(p, payload), source, nil
}

func (c *packetConn) unseal(b []byte) (payload []byte, source net.Addr, err error) {
	saltSize := c.key.cipher.SaltSize()
	if len(b) < saltSize+tagSize {
		return nil, nil, fmt.Errorf("shadowsocks: packet of %d bytes", len(b))
	}
	aead, err := c.key.session(b[:saltSize])
	if err != nil {
		return nil, nil, err
	}
	var nonce [nonceSize]byte
	body := b[saltSize:]
	plain, err := aead.Open(body[:0], nonce[:], body, nil)
	if err != nil {
		return nil, nil, ErrAuth
	}
	source, payload, err = c.sources.Cut(plain)
	return payload, source, err
}

// Close implements net.PacketConn.
func (c *packetConn) Close() error { return c.conn.Close() }

// LocalAddr implements net.PacketConn.
func (c *packetConn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (c *packetConn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (c *packetConn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (c *packetConn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }
