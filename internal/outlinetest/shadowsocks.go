package outlinetest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/md5" // the key derivation of Shadowsocks is made of it
	"crypto/rand"
	"crypto/sha1" // the same
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	tagSize    = 16
	maxChunk   = 0x3FFF           // the largest payload of a chunk
	firstBytes = 32 + 2 + tagSize // what Outline's server reads before it tries the key, for all ciphers
	saltsKept  = 20_000           // per generation of the replay cache, as Outline's largest
)

var errNoOpen = errors.New("message authentication failed")

// key is a cipher with its master key.
type key struct {
	size    int // of the master key, the subkeys and the salts
	master  []byte
	newAEAD func(key []byte) (cipher.AEAD, error)
}

func newKey(name, secret string) (key, error) {
	sizes := map[string]int{
		"chacha20-ietf-poly1305": 32, "aes-256-gcm": 32, "aes-192-gcm": 24, "aes-128-gcm": 16,
	}
	size, ok := sizes[name]
	if !ok {
		return key{}, fmt.Errorf("unknown cipher %q", name)
	}
	k := key{size: size, master: bytesToKey(secret, size), newAEAD: newGCM}
	if name == "chacha20-ietf-poly1305" {
		k.newAEAD = chacha20poly1305.New
	}
	return k, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// bytesToKey is OpenSSL's EVP_BytesToKey with MD5, one iteration and no salt.
func bytesToKey(secret string, size int) []byte {
	var out, last []byte
	for len(out) < size {
		sum := md5.Sum(append(last, secret...))
		last = sum[:]
		out = append(out, last...)
	}
	return out[:size]
}

// session derives the AEAD of one salt.
func (k key) session(salt []byte) (cipher.AEAD, error) {
	subkey, err := hkdf.Key(sha1.New, k.master, salt, "ss-subkey", k.size)
	if err != nil {
		return nil, err
	}
	return k.newAEAD(subkey)
}

func (k key) newSalt() []byte {
	salt := make([]byte, k.size)
	_, _ = rand.Read(salt) // never fails
	return salt
}

// counter is the nonce of a stream: a little-endian number that grows with every seal.
type counter [12]byte

func (c *counter) next() []byte {
	nonce := *c
	for i := range c {
		c[i]++
		if c[i] != 0 {
			break
		}
	}
	return nonce[:]
}

// chunkReader opens the chunks of a stream whose salt has been read.
type chunkReader struct {
	from  io.Reader
	aead  cipher.AEAD
	nonce counter
	rest  []byte // opened and not yet read
}

// next returns the payload of the next chunk, which is the caller's. io.EOF comes between chunks only.
func (r *chunkReader) next() ([]byte, error) {
	if rest := r.rest; len(rest) > 0 {
		r.rest = nil
		return rest, nil
	}
	length, err := r.open(2)
	if err != nil {
		return nil, err
	}
	payload, err := r.open(int(binary.BigEndian.Uint16(length)) & maxChunk)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return payload, err
}

// open reads and opens one sealed piece of n bytes.
func (r *chunkReader) open(n int) ([]byte, error) {
	sealed := make([]byte, n+tagSize)
	if _, err := io.ReadFull(r.from, sealed); err != nil {
		return nil, err
	}
	plain, err := r.aead.Open(sealed[:0], r.nonce.next(), sealed, nil)
	if err != nil {
		return nil, errNoOpen
	}
	return plain, nil
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		chunk, err := r.next()
		if err != nil {
			return 0, err
		}
		r.rest = chunk
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// chunkWriter seals the chunks of a stream.
type chunkWriter struct {
	salt  []byte // nil once it has been sent
	aead  cipher.AEAD
	nonce counter
}

func (k key) newChunkWriter() (*chunkWriter, error) {
	salt := k.newSalt()
	aead, err := k.session(salt)
	return &chunkWriter{salt: salt, aead: aead}, err
}

// seal returns the message of one chunk; the first one begins with the salt.
func (w *chunkWriter) seal(payload []byte) []byte {
	out := make([]byte, 0, len(w.salt)+2+len(payload)+2*tagSize)
	out = append(out, w.salt...)
	w.salt = nil
	var length [2]byte
	binary.BigEndian.PutUint16(length[:], uint16(len(payload)))
	out = w.aead.Seal(out, w.nonce.next(), length[:], nil)
	return w.aead.Seal(out, w.nonce.next(), payload, nil)
}

// openPacket returns the plaintext of a packet.
func (k key) openPacket(packet []byte) ([]byte, error) {
	if len(packet) < k.size+tagSize {
		return nil, errNoOpen
	}
	aead, err := k.session(packet[:k.size])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), packet[k.size:], nil)
	if err != nil {
		return nil, errNoOpen
	}
	return plain, nil
}

func (k key) sealPacket(plain []byte) ([]byte, error) {
	salt := k.newSalt()
	aead, err := k.session(salt)
	if err != nil {
		return nil, err
	}
	return aead.Seal(salt, make([]byte, aead.NonceSize()), plain, nil), nil
}

// readAddr reads a target in the form of RFC 1928, section 5: type, address, port.
func readAddr(r io.Reader) (string, error) {
	var b [256]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return "", err
	}
	kind, size := b[0], 0
	switch kind {
	case 1:
		size = net.IPv4len
	case 4:
		size = net.IPv6len
	case 3:
		if _, err := io.ReadFull(r, b[:1]); err != nil {
			return "", err
		}
		size = int(b[0])
	default:
		return "", fmt.Errorf("unknown address type %d", kind)
	}
	var port [2]byte
	if _, err := io.ReadFull(r, b[:size]); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(r, port[:]); err != nil {
		return "", err
	}
	host := string(b[:size])
	if kind != 3 {
		ip, _ := netip.AddrFromSlice(b[:size]) // the size is right
		host = ip.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port[:])))), nil
}

// appendAddr appends the form that readAddr reads.
func appendAddr(b []byte, addr netip.AddrPort) []byte {
	kind := byte(4)
	if addr.Addr().Is4() {
		kind = 1
	}
	b = append(append(b, kind), addr.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, addr.Port())
}

// saltCache remembers salts, so that a replay is known. It holds at most two generations.
type saltCache struct {
	mu            sync.Mutex
	recent, older map[string]struct{}
}

// add reports whether salt was new.
func (c *saltCache) add(salt []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recent == nil || len(c.recent) >= saltsKept {
		c.recent, c.older = make(map[string]struct{}), c.recent
	}
	_, recent := c.recent[string(salt)]
	_, older := c.older[string(salt)]
	c.recent[string(salt)] = struct{}{}
	return !recent && !older
}
