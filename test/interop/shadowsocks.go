package interop

import (
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

	"golang.org/x/crypto/chacha20poly1305"
)

// Ciphers are the Shadowsocks ciphers that Outline knows.
var Ciphers = []string{"chacha20-ietf-poly1305", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"}

// shadowKey is a secret as one cipher uses it. With it the suite checks its own peers without the client, so
// that a failure can be blamed on the right side.
type shadowKey struct {
	master []byte // its length is also the length of the salt
	aead   func(key []byte) (cipher.AEAD, error)
}

func newShadowKey(name, secret string) (shadowKey, error) {
	switch name {
	case "chacha20-ietf-poly1305":
		return shadowKey{masterKey(secret, 32), chacha20poly1305.New}, nil
	case "aes-128-gcm":
		return shadowKey{masterKey(secret, 16), newGCM}, nil
	case "aes-192-gcm":
		return shadowKey{masterKey(secret, 24), newGCM}, nil
	case "aes-256-gcm":
		return shadowKey{masterKey(secret, 32), newGCM}, nil
	}
	return shadowKey{}, fmt.Errorf("unknown cipher %q", name)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// masterKey is OpenSSL's EVP_BytesToKey with MD5, one round and no salt.
func masterKey(secret string, size int) []byte {
	var key, last []byte
	for len(key) < size {
		sum := md5.Sum(append(last, secret...))
		last = sum[:]
		key = append(key, last...)
	}
	return key[:size]
}

func (k shadowKey) session(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha1.New, k.master, salt, "ss-subkey", len(k.master))
	if err != nil {
		return nil, err
	}
	return k.aead(key)
}

func (k shadowKey) newSalt() []byte {
	salt := make([]byte, len(k.master))
	rand.Read(salt) // never fails
	return salt
}

// SealPacket is one Shadowsocks datagram: salt and one sealed text under nonce zero.
func (k shadowKey) SealPacket(plain []byte) ([]byte, error) {
	salt := k.newSalt()
	aead, err := k.session(salt)
	if err != nil {
		return nil, err
	}
	return aead.Seal(salt, make([]byte, aead.NonceSize()), plain, nil), nil
}

// OpenPacket is the inverse of SealPacket.
func (k shadowKey) OpenPacket(packet []byte) ([]byte, error) {
	if len(packet) < len(k.master) {
		return nil, errors.New("packet shorter than its salt")
	}
	salt, sealed := packet[:len(k.master)], packet[len(k.master):]
	aead, err := k.session(salt)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, make([]byte, aead.NonceSize()), sealed, nil)
}

// shadowHalf seals or opens one direction of a Shadowsocks stream.
type shadowHalf struct {
	aead  cipher.AEAD
	nonce []byte
}

func (h *shadowHalf) nextNonce() []byte {
	now := append([]byte(nil), h.nonce...)
	for i := range h.nonce { // a little-endian counter
		h.nonce[i]++
		if h.nonce[i] != 0 {
			break
		}
	}
	return now
}

// shadowWriter turns every Write into chunks on w. The first carries the salt.
type shadowWriter struct {
	shadowHalf

	w    io.Writer
	salt []byte // until it was sent
}

func (k shadowKey) NewWriter(w io.Writer) (*shadowWriter, error) {
	salt := k.newSalt()
	aead, err := k.session(salt)
	if err != nil {
		return nil, err
	}
	return &shadowWriter{shadowHalf{aead, make([]byte, aead.NonceSize())}, w, salt}, nil
}

func (s *shadowWriter) Write(p []byte) (int, error) {
	const maxPayload = 0x3FFF
	for rest := p; len(rest) > 0; {
		n := min(len(rest), maxPayload)
		wire := s.salt
		s.salt = nil
		wire = s.aead.Seal(wire, s.nextNonce(), binary.BigEndian.AppendUint16(nil, uint16(n)), nil)
		wire = s.aead.Seal(wire, s.nextNonce(), rest[:n], nil)
		if _, err := s.w.Write(wire); err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// shadowReader opens the chunks that arrive on r.
type shadowReader struct {
	shadowHalf

	key  shadowKey
	r    io.Reader
	rest []byte // opened, not yet read
}

func (k shadowKey) NewReader(r io.Reader) *shadowReader { return &shadowReader{key: k, r: r} }

// Read returns io.EOF at the end of a chunk only; inside of one it is io.ErrUnexpectedEOF.
func (s *shadowReader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if err := s.readChunk(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *shadowReader) readChunk() error {
	if s.aead == nil {
		if err := s.readSalt(); err != nil {
			return err
		}
	}
	length, err := s.readSealed(2)
	if err != nil {
		return err
	}
	s.rest, err = s.readSealed(int(binary.BigEndian.Uint16(length)))
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *shadowReader) readSalt() error {
	salt := make([]byte, len(s.key.master))
	if _, err := io.ReadFull(s.r, salt); err != nil {
		return err
	}
	aead, err := s.key.session(salt)
	if err != nil {
		return err
	}
	s.shadowHalf = shadowHalf{aead, make([]byte, aead.NonceSize())}
	return nil
}

func (s *shadowReader) readSealed(n int) ([]byte, error) {
	sealed := make([]byte, n+s.aead.Overhead())
	if _, err := io.ReadFull(s.r, sealed); err != nil {
		return nil, err
	}
	return s.aead.Open(sealed[:0], s.nextNonce(), sealed, nil)
}
