package shadowsocks

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParseCipher(t *testing.T) {
	tests := []struct {
		name string
		want string
		size int
	}{
		{"chacha20-ietf-poly1305", "chacha20-ietf-poly1305", 32},
		{"CHACHA20-IETF-POLY1305", "chacha20-ietf-poly1305", 32},
		{"chacha20-poly1305", "chacha20-ietf-poly1305", 32},
		{"AEAD_CHACHA20_POLY1305", "chacha20-ietf-poly1305", 32},
		{"aes-256-gcm", "aes-256-gcm", 32},
		{"AEAD_AES_256_GCM", "aes-256-gcm", 32},
		{"aes-192-gcm", "aes-192-gcm", 24},
		{"Aes-128-Gcm", "aes-128-gcm", 16},
	}
	for _, tt := range tests {
		c, err := ParseCipher(tt.name)
		if err != nil || c.String() != tt.want || c.SaltSize() != tt.size {
			t.Errorf("ParseCipher(%q) = %v with salts of %d, %v, want %s with %d",
				tt.name, c, c.SaltSize(), err, tt.want, tt.size)
		}
	}
	for _, name := range []string{"", "aes-256-cfb", "none", "aes-256-gcm ", "2022-blake3-aes-256-gcm"} {
		_, err := ParseCipher(name)
		if !errors.Is(err, ErrCipher) || !strings.Contains(err.Error(), "use one of chacha20-ietf-") {
			t.Errorf("ParseCipher(%q) = %v, want %v with the ones to use", name, err, ErrCipher)
		}
	}
}

// The vectors are OpenSSL's: openssl enc -aes-256-cbc -md md5 -nosalt -pass pass:foobar -P.
func TestNewKey(t *testing.T) {
	const foobar = "3858f62230ac3c915f300c664312c63f568378529614d22ddb49237d2f60bfdf"
	for _, c := range ciphers {
		key, err := NewKey(c, "foobar")
		if want := foobar[:2*c.keySize]; err != nil || hex.EncodeToString(key.master) != want {
			t.Errorf("NewKey(%s, foobar) = %x, %v, want %s", c, key.master, err, want)
		}
		if peer := newPeerKey(c.name, "foobar"); !bytes.Equal(peer.master, key.master) {
			t.Errorf("the peer's key = %x, want %x", peer.master, key.master)
		}
	}
	if _, err := NewKey(ciphers[0], ""); err == nil {
		t.Error("NewKey without a secret = nil, want an error")
	}
	if _, err := NewKey(Cipher{}, "foobar"); !errors.Is(err, ErrCipher) {
		t.Errorf("NewKey without a cipher = %v, want %v", err, ErrCipher)
	}
}

// No way of printing shows the key.
func TestKeyIsSecret(t *testing.T) {
	key, err := NewKey(ciphers[0], "foobar")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "pointer", key, "value", *key)
	shown := []string{log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t"} {
		shown = append(shown, fmt.Sprintf(verb, key), fmt.Sprintf(verb, *key),
			fmt.Sprintf(verb, struct{ K *Key }{key}), fmt.Sprintf(verb, struct{ K Key }{*key}))
	}
	for _, s := range shown {
		for _, secret := range []string{"3858", "3858F6", "56 88 246", "0x38", "foobar", `8X\xf6`} {
			if strings.Contains(s, secret) {
				t.Errorf("a key is printed as %q, which has %q", s, secret)
			}
		}
	}
	if got := key.String(); got != "chacha20-ietf-poly1305 [redacted]" {
		t.Errorf("String() = %q", got)
	}
}

// RFC 2202, section 3, the cases that fit.
func TestHMAC(t *testing.T) {
	tests := []struct{ key, msg, want string }{
		{strings.Repeat("\x0b", 20), "Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"},
		{"Jefe", "what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
	}
	for _, tt := range tests {
		if got := hmacSHA1([]byte(tt.key), []byte(tt.msg)); hex.EncodeToString(got[:]) != tt.want {
			t.Errorf("hmacSHA1(%q, %q) = %x, want %s", tt.key, tt.msg, got, tt.want)
		}
	}
}

func TestHKDF(t *testing.T) {
	for _, size := range []int{16, 24, 32} {
		for range 50 {
			master, salt, got := make([]byte, size), make([]byte, size), make([]byte, size)
			_, _ = rand.Read(master)
			_, _ = rand.Read(salt)
			hkdfSHA1(got, master, salt)
			want, err := hkdf.Key(sha1.New, master, salt, subkeyInfo, size)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("hkdfSHA1(%x, %x) = %x, want %x, %v", master, salt, got, want, err)
			}
		}
	}
}

func TestSealedChunk(t *testing.T) {
	for _, c := range ciphers {
		t.Run(c.name, func(t *testing.T) {
			key, salt := newTestKey(t, c.name), make([]byte, c.keySize)
			_, _ = rand.Read(salt)
			aead, err := key.session(salt)
			if err != nil {
				t.Fatal(err)
			}
			peer := peerDirection{aead: newPeerKey(c.name, testSecret).aead(salt)}
			ours, back := counter{aead: aead}, counter{aead: aead}
			for _, n := range []int{0, 1, 100, maxChunk} {
				payload := bytes.Repeat([]byte{byte(n)}, n)
				buf := make([]byte, lengthSize+n+tagSize)
				copy(buf[lengthSize:], payload)
				ours.sealChunk(buf, n)
				if want := peer.chunk(n, payload); !bytes.Equal(buf, want) {
					t.Fatalf("chunk of %d bytes = %x, want %x", n, buf, want)
				}
				got, err := back.openLength((*[lengthSize]byte)(buf))
				if got != n || err != nil {
					t.Fatalf("openLength() = %d, %v, want %d", got, err, n)
				}
				sealed := buf[lengthSize:]
				if err := back.open(sealed); err != nil || !bytes.Equal(sealed[:n], payload) {
					t.Fatalf("open() = %v, %x, want %x", err, sealed[:n], payload)
				}
			}
		})
	}
}

func TestNonceCounts(t *testing.T) {
	var c counter
	c.nonce = [nonceSize]byte{0xfe, 0xff}
	want := [][nonceSize]byte{{0xff, 0xff}, {0, 0, 1}, {1, 0, 1}}
	for _, w := range want {
		if c.next(); c.nonce != w {
			t.Errorf("nonce = %x, want %x", c.nonce, w)
		}
	}
	for i := range c.nonce {
		c.nonce[i] = 0xff
	}
	if c.next(); c.nonce != [nonceSize]byte{} {
		t.Errorf("nonce after the last = %x, want zero", c.nonce)
	}
}

func TestCheckPrefix(t *testing.T) {
	tests := []struct {
		cipher string
		n      int
		ok     bool
	}{
		{"chacha20-ietf-poly1305", 0, true},
		{"chacha20-ietf-poly1305", 24, true},
		{"chacha20-ietf-poly1305", 25, false},
		{"aes-128-gcm", 8, true},
		{"aes-128-gcm", 9, false},
		{"rot13", 0, false},
	}
	for _, tt := range tests {
		if err := CheckPrefix(tt.cipher, make([]byte, tt.n)); (err == nil) != tt.ok {
			t.Errorf("CheckPrefix(%s, %d bytes) = %v, want success %v", tt.cipher, tt.n, err, tt.ok)
		}
	}
}
