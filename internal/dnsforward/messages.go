package dnsforward

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// maxDatagram is more than any upstream carries.
const maxDatagram = 8192

// datagrams are messages in UDP to one server.
type datagrams struct {
	conn   net.PacketConn
	target *net.UDPAddr
	source string // how answers name it
	buf    [maxDatagram]byte
}

func openDatagrams(ctx context.Context, l transport.PacketListener, server netip.AddrPort) (messages, error) {
	conn, err := l.ListenPacket(ctx)
	if err != nil {
		return nil, err
	}
	return &datagrams{conn: conn, target: net.UDPAddrFromAddrPort(server), source: server.String()}, nil
}

// read drops what comes from anybody else.
func (d *datagrams) read() ([]byte, error) {
	for {
		n, source, err := d.conn.ReadFrom(d.buf[:])
		if err != nil {
			return nil, err
		}
		if source.String() == d.source {
			return append([]byte(nil), d.buf[:n]...), nil
		}
	}
}

func (d *datagrams) write(message []byte) error {
	_, err := d.conn.WriteTo(message, d.target)
	return err
}

func (d *datagrams) close() { _ = d.conn.Close() }

// stream is messages over TCP, each behind its length (RFC 1035, section 4.2.2).
type stream struct {
	conn    transport.StreamConn
	writing sync.Mutex
}

func openStream(ctx context.Context, d transport.StreamDialer, server netip.AddrPort) (messages, error) {
	conn, err := d.DialStream(ctx, server.String())
	if err != nil {
		return nil, err
	}
	return &stream{conn: conn}, nil
}

func (s *stream) read() ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(s.conn, size[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(s.conn, message)
	return message, err
}

// write sends length and message at once, as RFC 7766, section 8 asks for.
func (s *stream) write(message []byte) error {
	b := make([]byte, 2, 2+len(message))
	binary.BigEndian.PutUint16(b, uint16(len(message)))
	b = append(b, message...)
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(tcpSilence)); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

func (s *stream) close() { _ = s.conn.Close() }
