package shadowsocks

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"  //nolint:gosec // the key derivation that every Shadowsocks AEAD server uses
	"crypto/sha1" //nolint:gosec // the same, for subkeys
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	tagSize   = 16
	nonceSize = 12
	// maxSalt is the longest salt, which is as long as the key.
	maxSalt = 32
)

// Cipher is one of the AEAD ciphers of Shadowsocks. The zero value is none.
type Cipher struct {
	name    string
	keySize int // the salt has the same size
	aead    func(key []byte) (cipher.AEAD, error)
}

var ciphers = [...]Cipher{
	{"chacha20-ietf-poly1305", 32, chacha20poly1305.New},
	{"aes-256-gcm", 32, newGCM},
	{"aes-192-gcm", 24, newGCM},
	{"aes-128-gcm", 16, newGCM},
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// ErrCipher says that a cipher is not one of the supported ones.
var ErrCipher = errors.New("unknown cipher")

// ParseCipher returns the cipher of that name. Case does not matter, and the names with AEAD_ and underscores
// that some tools write are accepted too.
func ParseCipher(name string) (Cipher, error) {
	plain := strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(name), "aead_"), "_", "-")
	if plain == "chacha20-poly1305" {
		plain = "chacha20-ietf-poly1305"
	}
	names := make([]string, 0, len(ciphers))
	for _, c := range ciphers {
		if c.name == plain {
			return c, nil
		}
		names = append(names, c.name)
	}
	return Cipher{}, fmt.Errorf("%w: use one of %s", ErrCipher, strings.Join(names, ", "))
}

// String returns the cipher's name.
func (c Cipher) String() string { return c.name }

// SaltSize is the length of the salt in bytes, which a prefix must not exceed.
func (c Cipher) SaltSize() int { return c.keySize }

// Key is a cipher with the key made of a secret. It never prints itself.
type Key struct {
	cipher Cipher
	master []byte
}

// NewKey derives the key from the secret as OpenSSL's EVP_BytesToKey does with MD5 and no salt.
func NewKey(c Cipher, secret string) (*Key, error) {
	if c.aead == nil {
		return nil, ErrCipher
	}
	if secret == "" {
		return nil, errors.New("the secret is empty")
	}
	var key, block []byte
	for len(key) < c.keySize {
		sum := md5.Sum(slices.Concat(block, []byte(secret))) //nolint:gosec // see the import
		block = sum[:]
		key = append(key, block...)
	}
	return &Key{cipher: c, master: key[:c.keySize]}, nil
}

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// String names the cipher and hides the key.
func (k Key) String() string { return k.cipher.name + " [redacted]" }

// Format implements fmt.Formatter: no verb shows the key.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// session returns the AEAD for the subkey of one salt: HKDF-SHA1(master, salt, "ss-subkey").
func (k Key) session(salt []byte) (cipher.AEAD, error) {
	var subkey [maxSalt]byte
	hkdfSHA1(subkey[:k.cipher.keySize], k.master, salt)
	return k.cipher.aead(subkey[:k.cipher.keySize])
}

// subkeyInfo is the info of the derivation.
const subkeyInfo = "ss-subkey"

// hkdfSHA1 is HKDF (RFC 5869) with SHA-1, for the two blocks at most that a subkey needs. A packet needs one
// each, and the standard library's takes several times as long and eighteen allocations.
func hkdfSHA1(subkey, master, salt []byte) {
	pseudo := hmacSHA1(salt, master)
	var msg [sha1.Size + len(subkeyInfo) + 1]byte
	first := msg[sha1.Size:]
	copy(first, subkeyInfo)
	first[len(subkeyInfo)] = 1
	t := hmacSHA1(pseudo[:], first)
	n := copy(subkey, t[:])
	if n < len(subkey) {
		copy(msg[:], t[:])
		first[len(subkeyInfo)] = 2
		t = hmacSHA1(pseudo[:], msg[:])
		copy(subkey[n:], t[:])
	}
}

// maxHMACInput bounds the messages that hmacSHA1 takes: a key of 32 bytes, or a block of the expansion.
const maxHMACInput = 32

// hmacSHA1 is HMAC (RFC 2104) for keys up to a block and messages up to maxHMACInput, on the stack.
func hmacSHA1(key, msg []byte) [sha1.Size]byte {
	var inner [sha1.BlockSize + maxHMACInput]byte
	var outer [sha1.BlockSize + sha1.Size]byte
	copy(inner[:], key)
	copy(outer[:], key)
	for i := range sha1.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	n := copy(inner[sha1.BlockSize:], msg)
	sum := sha1.Sum(inner[:sha1.BlockSize+n]) //nolint:gosec // see the import
	copy(outer[sha1.BlockSize:], sum[:])
	return sha1.Sum(outer[:]) //nolint:gosec // see the import
}
