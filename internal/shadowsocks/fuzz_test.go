package shadowsocks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// FuzzReader reads any bytes as a server's stream, and any lengths of chunks that open: it never panics,
// returns nothing that does not open, and means the same with a deadline before every few bytes.
func FuzzReader(f *testing.F) {
	key, ours := newPeerKey(chacha, testSecret), newTestKey(f, chacha)
	whole := key.answer("hello", "", "world")
	f.Add(whole, []byte{0, 5, 0, 0, 0, 1}, uint8(0), uint8(100))
	f.Add(whole[:len(whole)-3], []byte{1, 0}, uint8(3), uint8(1))
	f.Add(whole[:40], []byte{0x3f, 0xff, 0x40, 0}, uint8(0), uint8(3))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), []byte{0x80, 1}, uint8(20), uint8(16))
	f.Fuzz(func(t *testing.T, raw, lengths []byte, cut, size uint8) {
		forged := key.forge(lengths)
		for _, wire := range [][]byte{raw, forged[:max(0, len(forged)-int(cut))]} {
			want, wantErr := oracle(key, wire)
			for _, src := range []io.Reader{
				bytes.NewReader(wire), &stutter{src: bytes.NewReader(wire), size: 1 + 7*int(size)},
			} {
				s := &stream{in: reader{src: &scripted{script: src}, key: ours}}
				got, err := readAll(s, int(size)+1)
				if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
					t.Errorf("%x from %T = %x, %v, want %x, %v", wire, src, got, err, want, wantErr)
				}
			}
		}
	})
}

// forge returns a stream of chunks that open, with those lengths, allowed or not.
func (k peerKey) forge(lengths []byte) []byte {
	wire := make([]byte, k.size)
	d := &peerDirection{aead: k.aead(wire)}
	for n := 0; len(lengths) >= 2 && n < 4; n++ {
		length := int(binary.BigEndian.Uint16(lengths))
		wire = append(wire, d.chunk(length, make([]byte, length))...)
		lengths = lengths[2:]
	}
	return wire
}

// oracle reads a stream of chunks with other code.
func oracle(key peerKey, wire []byte) (data []byte, err error) {
	if len(wire) == 0 {
		return nil, nil
	}
	if len(wire) < key.size {
		return nil, io.ErrUnexpectedEOF
	}
	a, b := transporttest.Pipe()
	defer a.Abort()
	p := newPeer(b, key)
	p.in.aead = key.aead(wire[:key.size])
	go func() {
		_, _ = a.Write(wire[key.size:])
		_ = a.CloseWrite()
	}()
	for {
		chunk, err := p.chunk()
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil || len(chunk) > maxChunk {
			return data, errors.Join(err, errors.New("bad chunk"))
		}
		data = append(data, chunk...)
	}
}

// FuzzStream writes any payload in pieces of any size and reads it with other code.
func FuzzStream(f *testing.F) {
	f.Add([]byte("hello"), uint16(2), uint8(0))
	f.Add([]byte(strings.Repeat("x", 1000)), uint16(999), uint8(1))
	f.Add([]byte{}, uint16(0), uint8(2))
	f.Fuzz(func(t *testing.T, payload []byte, piece uint16, which uint8) {
		name := ciphers[int(which)%len(ciphers)].name
		a, b := transporttest.Pipe()
		s := dial(t, a, name)
		defer s.Close()
		go func() {
			for left := payload; len(left) > 0; {
				n := min(1+int(piece), len(left))
				_, _ = s.Write(left[:n])
				left = left[n:]
			}
			_ = s.CloseWrite()
		}()
		p := newPeer(b, newPeerKey(name, testSecret))
		got, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(got, payload) || p.target.String() != testTarget {
			t.Errorf("peer read %x for %s, %v, want %x for %s", got, p.target, err, payload, testTarget)
		}
	})
}

// FuzzPacket takes any bytes for a server's packet, sealed or not: it never panics, and returns only what
// opens and has a source.
func FuzzPacket(f *testing.F) {
	key, ours := newPeerKey(chacha, testSecret), newTestKey(f, chacha)
	f.Add(key.packet(f, "192.0.2.1:53", "hello"))
	f.Add(key.packet(f, "example.com:53", strings.Repeat("x", 1400)))
	f.Add([]byte("short"))
	f.Add(make([]byte, key.size+tagSize))
	for _, source := range targets {
		f.Add(append(mustParse(source.String()).(socksaddr.Addr).Append(nil), "hello"...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &packetConn{key: ours}
		if payload, source, err := c.unseal(bytes.Clone(b)); err == nil {
			if from, want := key.openPacket(t, b); source.String() != from || string(payload) != want {
				t.Errorf("unseal(%x) = %q from %s, want %q from %s", b, payload, source, want, from)
			}
		}
		salt := make([]byte, key.size)
		sealed := key.aead(salt).Seal(salt, make([]byte, nonceSize), b, nil)
		want, rest, wantErr := socksaddr.Cut(b)
		payload, source, err := c.unseal(sealed)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("unseal of %x = %v, want %v", b, err, wantErr)
		}
		if err == nil && (source != net.Addr(want) || !bytes.Equal(payload, rest)) {
			t.Errorf("unseal of %x = %q from %s, want %q from %s", b, payload, source, rest, want)
		}
	})
}
