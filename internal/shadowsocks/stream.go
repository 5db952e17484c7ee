package shadowsocks

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// firstWait is how long a new stream waits for the client's first bytes, to send them together with the salt
// and the target: one message instead of two, and nothing about its length tells what it holds. Clients of
// protocols in which the server speaks first pay it once.
const firstWait = 10 * time.Millisecond

// StreamDialer reaches any target through the server behind an endpoint.
type StreamDialer struct {
	Name     string // of the upstream, for logs
	Endpoint transport.StreamEndpoint
	Key      *Key
	Prefix   []byte // the start of every salt; see CheckPrefix
}

var _ transport.StreamDialer = (*StreamDialer)(nil)

// DialStream implements transport.StreamDialer. It returns when the server is reached, before it knows of the
// target, so a target that refuses shows as *NoAnswerError from Read.
func (d *StreamDialer) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	target, err := socksaddr.Parse(addr)
	if err != nil {
		return nil, err
	}
	salt, err := newSalt(d.Key, d.Prefix)
	if err != nil {
		return nil, err
	}
	aead, err := d.Key.session(salt)
	if err != nil {
		return nil, err
	}
	conn, err := d.Endpoint.ConnectStream(ctx)
	if err != nil {
		return nil, err
	}
	s := &stream{name: d.Name, conn: conn}
	s.in = reader{src: conn, key: d.Key, opened: time.Now()}
	s.out.init(conn, counter{aead: aead}, salt, target)
	return s, nil
}

// CheckPrefix reports whether salts of the named cipher can start with prefix and still be random.
func CheckPrefix(cipher string, prefix []byte) error {
	c, err := ParseCipher(cipher)
	if err != nil {
		return err
	}
	return c.checkPrefix(prefix)
}

// newSalt returns a salt that starts with prefix.
func newSalt(k *Key, prefix []byte) ([]byte, error) {
	if err := k.cipher.checkPrefix(prefix); err != nil {
		return nil, err
	}
	salt := make([]byte, k.cipher.SaltSize())
	_, _ = rand.Read(salt[copy(salt, prefix):]) // never fails
	return salt, nil
}

// minRandom is how much of a salt must stay random: salts that repeat end the secrecy of both streams.
const minRandom = 8

func (c Cipher) checkPrefix(prefix []byte) error {
	if len(prefix) > c.SaltSize()-minRandom {
		return fmt.Errorf("%d bytes are too long: %s has salts of %d bytes, of which %d must stay random",
			len(prefix), c, c.SaltSize(), minRandom)
	}
	return nil
}

// stream is one flow to one target.
type stream struct {
	name string
	conn transport.StreamConn
	in   reader
	out  writer
}

var (
	_ transport.StreamConn     = (*stream)(nil)
	_ transport.HeadroomWriter = (*stream)(nil)
	_ transport.WaitReader     = (*stream)(nil)
	_ transport.Aborter        = (*stream)(nil)
	_ transport.Carried        = (*stream)(nil)
)

// Read implements net.Conn. With room for a whole chunk and its tag, p is decrypted in place.
func (s *stream) Read(p []byte) (int, error) { return s.in.read(p) }

// WaitRead implements transport.WaitReader: it returns when a chunk has begun to arrive.
func (s *stream) WaitRead() error { return s.in.wait() }

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) { return s.out.write(p) }

// Headroom implements transport.HeadroomWriter.
func (s *stream) Headroom() transport.Headroom { return s.out.headroom() }

// WriteHeadroom implements transport.HeadroomWriter: the payload becomes one chunk.
func (s *stream) WriteHeadroom(buf []byte, front, back int) error {
	return s.out.writeInPlace(buf, front, back)
}

// Upstream implements transport.Carried.
func (s *stream) Upstream() string { return s.name }

// CloseWrite implements transport.StreamConn.
func (s *stream) CloseWrite() error {
	s.in.finished.Store(true)
	return s.out.closeWrite()
}

// CloseRead implements transport.StreamConn.
func (s *stream) CloseRead() error { return s.conn.CloseRead() }

// Close implements net.Conn.
func (s *stream) Close() error {
	err := s.conn.Close()
	s.out.stop()
	return err
}

// Abort implements transport.Aborter.
func (s *stream) Abort() error {
	err := transport.Abort(s.conn)
	s.out.stop()
	return err
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr implements net.Conn: the server's address, since nobody tells the target's.
func (s *stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error { return s.conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn. Nothing can be written after a write that ran into it.
func (s *stream) SetWriteDeadline(t time.Time) error { return s.conn.SetWriteDeadline(t) }
