package shadowsocks

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret = "a secret"
	testTarget = "example.com:443"
)

// peerKey is a cipher and its key, computed apart from the code under test.
type peerKey struct {
	name   string
	size   int
	master []byte
}

func newPeerKey(name, secret string) peerKey {
	size := map[string]int{"aes-128-gcm": 16, "aes-192-gcm": 24}[name]
	if size == 0 {
		size = 32
	}
	var key []byte
	for h := md5.New(); len(key) < size; {
		block := h.Sum(nil) // of nothing, or of the block before and the secret
		h.Reset()
		if len(key) > 0 {
			h.Write(block)
		}
		h.Write([]byte(secret))
		key = h.Sum(key)
	}
	return peerKey{name: name, size: size, master: key[:size]}
}

func (k peerKey) aead(salt []byte) cipher.AEAD {
	subkey, err := hkdf.Key(sha1.New, k.master, salt, "ss-subkey", k.size)
	if err != nil {
		panic(err)
	}
	var aead cipher.AEAD
	if k.name == "chacha20-ietf-poly1305" {
		aead, err = chacha20poly1305.New(subkey)
	} else {
		var block cipher.Block
		if block, err = aes.NewCipher(subkey); err == nil {
			aead, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		panic(err)
	}
	return aead
}

// sealer and opener are one direction of a stream.
type peerDirection struct {
	aead  cipher.AEAD
	count uint64
}

func (d *peerDirection) nonce() []byte {
	n := binary.LittleEndian.AppendUint64(nil, d.count)
	d.count++
	return append(n, 0, 0, 0, 0)
}

// chunk returns payload as a chunk with that length in front, which may be a lie.
func (d *peerDirection) chunk(length int, payload []byte) []byte {
	b := d.aead.Seal(nil, d.nonce(), binary.BigEndian.AppendUint16(nil, uint16(length)), nil)
	return d.aead.Seal(b, d.nonce(), payload, nil)
}

// answer returns what a server sends: the salt and a chunk for each payload.
func (k peerKey) answer(payloads ...string) []byte {
	b := make([]byte, k.size)
	_, _ = rand.Read(b)
	d := &peerDirection{aead: k.aead(b)}
	for _, p := range payloads {
		b = append(b, d.chunk(len(p), []byte(p))...)
	}
	return b
}

// peer is the server's end of a stream. Its methods are those that the conformance suite uses.
type peer struct {
	transport.StreamConn
	key    peerKey
	in     peerDirection
	out    peerDirection
	salt   []byte // the client's
	target socksaddr.Addr
	left   []byte
}

func newPeer(conn transport.StreamConn, key peerKey) *peer { return &peer{StreamConn: conn, key: key} }

// chunk reads one chunk. Only an end between chunks is EOF.
func (p *peer) chunk() ([]byte, error) {
	length, err := p.open(2, io.EOF)
	if err != nil {
		return nil, err
	}
	return p.open(int(binary.BigEndian.Uint16(length)), io.ErrUnexpectedEOF)
}

// open reads and opens n bytes; atEnd is the error for an end before the first of them.
func (p *peer) open(n int, atEnd error) ([]byte, error) {
	sealed := make([]byte, n+tagSize)
	if _, err := io.ReadFull(p.StreamConn, sealed); errors.Is(err, io.EOF) {
		return nil, atEnd
	} else if err != nil {
		return nil, err
	}
	plain, err := p.in.aead.Open(nil, p.in.nonce(), sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("peer cannot open: %w", err)
	}
	return plain, nil
}

// begin reads the salt and the target.
func (p *peer) begin() error {
	p.salt = make([]byte, p.key.size)
	if _, err := io.ReadFull(p.StreamConn, p.salt); err != nil {
		return fmt.Errorf("peer reads the salt: %w", noEOF(err))
	}
	p.in.aead = p.key.aead(p.salt)
	first, err := p.chunk()
	if err != nil {
		return noEOF(err)
	}
	p.target, p.left, err = socksaddr.Cut(first)
	return err
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (p *peer) Read(b []byte) (n int, err error) {
	if p.in.aead == nil {
		err = p.begin()
	}
	for len(p.left) == 0 && err == nil {
		p.left, err = p.chunk()
	}
	if err != nil {
		return 0, err
	}
	n = copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

func (p *peer) Write(b []byte) (int, error) {
	var wire []byte
	if p.out.aead == nil {
		wire = make([]byte, p.key.size)
		_, _ = rand.Read(wire)
		p.out.aead = p.key.aead(wire)
	}
	for left := b; len(left) > 0; {
		n := min(len(left), maxChunk)
		wire = append(wire, p.out.chunk(n, left[:n])...)
		left = left[n:]
	}
	if _, err := p.StreamConn.Write(wire); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (p *peer) Abort() error { return transport.Abort(p.StreamConn) }

// endpoint hands out one connection.
type endpoint struct{ conn transport.StreamConn }

func (e endpoint) ConnectStream(context.Context) (transport.StreamConn, error) { return e.conn, nil }

func newTestKey(t testing.TB, cipherName string) *Key {
	t.Helper()
	c, err := ParseCipher(cipherName)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewKey(c, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// dial opens a stream to testTarget over conn.
func dial(t testing.TB, conn transport.StreamConn, cipherName string) *stream {
	t.Helper()
	d := &StreamDialer{Endpoint: endpoint{conn}, Key: newTestKey(t, cipherName)}
	s, err := d.DialStream(t.Context(), testTarget)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*stream)
}
