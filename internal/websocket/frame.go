package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// opcode is the kind of a frame (RFC 6455, section 5.2).
type opcode byte

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xA
)

func (o opcode) control() bool { return o&0x8 != 0 }

const (
	finBit  = 0x80
	rsvBits = 0x70
	maskBit = 0x80

	// maxControl is the longest payload of a control frame (section 5.5).
	maxControl = 125
	// maxServerHeader and maxClientHeader are the longest frame headers without and with a masking key.
	maxServerHeader = 2 + 8
	maxClientHeader = maxServerHeader + maskLen
	maskLen         = 4
	// shortHeader is the client's header of a frame of 126 to 65535 bytes.
	shortHeader = 2 + 2 + maskLen
)

// ErrProtocol says that the peer broke RFC 6455.
var ErrProtocol = errors.New("websocket protocol error")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// frameHeader is a parsed header of a server's frame, which is never masked.
type frameHeader struct {
	fin    bool
	op     opcode
	length int64
}

// headerLen returns how long the header that starts with these two bytes is.
func headerLen(b [2]byte) int {
	switch b[1] & 0x7f {
	case 126:
		return 2 + 2
	case 127:
		return 2 + 8
	}
	return 2
}

// parseHeader parses a complete header (section 5.2). Lengths that are not in their shortest form are
// accepted, as most implementations do; there is no harm in them.
func parseHeader(b []byte) (frameHeader, error) {
	h := frameHeader{fin: b[0]&finBit != 0, op: opcode(b[0] & 0x0f), length: int64(b[1] & 0x7f)}
	switch {
	case b[0]&rsvBits != 0:
		return h, protocolError("reserved bits set without an extension")
	case b[1]&maskBit != 0:
		return h, protocolError("masked frame from a server")
	}
	switch h.length {
	case 126:
		h.length = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		length := binary.BigEndian.Uint64(b[2:])
		if length>>63 != 0 {
			return h, protocolError("frame length out of range")
		}
		h.length = int64(length)
	}
	switch h.op {
	case opContinuation, opText, opBinary:
	case opClose, opPing, opPong:
		if h.length > maxControl || !h.fin {
			return h, protocolError("control frame too long or fragmented")
		}
	default:
		return h, protocolError("reserved opcode %#x", byte(h.op))
	}
	return h, nil
}

// clientHeaderLen returns the length of a client's header before a payload of n bytes.
func clientHeaderLen(n int) int {
	switch {
	case n < 126:
		return 2 + maskLen
	case n <= 0xffff:
		return shortHeader
	}
	return maxClientHeader
}

// putClientHeader writes the header of a final masked frame into b, which is clientHeaderLen(n) long.
func putClientHeader(b []byte, op opcode, n int, key [maskLen]byte) {
	b[0] = finBit | byte(op)
	switch len(b) {
	case 2 + maskLen:
		b[1] = maskBit | byte(n)
	case shortHeader:
		b[1] = maskBit | 126
		binary.BigEndian.PutUint16(b[2:], uint16(n))
	default:
		b[1] = maskBit | 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
	}
	copy(b[len(b)-maskLen:], key[:])
}

// mask applies key to p in place (section 5.3), 32 bytes at a time.
func mask(p []byte, key [maskLen]byte) {
	half := uint64(binary.LittleEndian.Uint32(key[:]))
	word := half<<32 | half
	for len(p) >= 32 {
		binary.LittleEndian.PutUint64(p[0:], binary.LittleEndian.Uint64(p[0:])^word)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^word)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^word)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^word)
		p = p[32:]
	}
	for i := range p {
		p[i] ^= key[i%maskLen]
	}
}
