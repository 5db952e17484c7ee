package shadowsocks

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// maxChunk is the longest payload of a chunk: the two high bits of the length are reserved.
	maxChunk = 0x3FFF
	// lengthSize is the sealed length in front of each chunk.
	lengthSize = 2 + tagSize
)

// ErrAuth says that something did not open: it is damaged, or the secret is another.
var ErrAuth = errors.New("shadowsocks: cannot decrypt: damaged, or another secret")

// counter is an AEAD with the nonce of one direction, a little-endian counter.
type counter struct {
	aead  cipher.AEAD
	nonce [nonceSize]byte
}

func (c *counter) next() {
	for i := range c.nonce {
		c.nonce[i]++
		if c.nonce[i] != 0 {
			return
		}
	}
}

// sealChunk seals the n bytes of payload at buf[lengthSize:] in place, with the length in front and the tag
// behind: buf becomes the chunk, of lengthSize+n+tagSize bytes.
func (c *counter) sealChunk(buf []byte, n int) {
	binary.BigEndian.PutUint16(buf, uint16(n))
	c.aead.Seal(buf[:0], c.nonce[:], buf[:2], nil)
	c.next()
	c.aead.Seal(buf[:lengthSize], c.nonce[:], buf[lengthSize:lengthSize+n], nil)
	c.next()
}

// openLength opens a sealed length.
func (c *counter) openLength(sealed *[lengthSize]byte) (int, error) {
	if err := c.open(sealed[:]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(sealed[:]))
	if n > maxChunk {
		return 0, fmt.Errorf("shadowsocks: chunk of %d bytes", n)
	}
	return n, nil
}

// open opens sealed in place; the plaintext is tagSize bytes shorter.
func (c *counter) open(sealed []byte) error {
	if _, err := c.aead.Open(sealed[:0], c.nonce[:], sealed, nil); err != nil {
		return ErrAuth
	}
	c.next()
	return nil
}
