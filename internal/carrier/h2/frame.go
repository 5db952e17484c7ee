package h2

import (
	"encoding/binary"
	"fmt"
)

// frameType is the type of a frame (RFC 9113, section 6).
type frameType uint8

const (
	frameData         frameType = 0x0
	frameHeaders      frameType = 0x1
	framePriority     frameType = 0x2
	frameRSTStream    frameType = 0x3
	frameSettings     frameType = 0x4
	framePushPromise  frameType = 0x5
	framePing         frameType = 0x6
	frameGoAway       frameType = 0x7
	frameWindowUpdate frameType = 0x8
	frameContinuation frameType = 0x9
)

func (t frameType) String() string {
	names := [...]string{
		"DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
		"WINDOW_UPDATE", "CONTINUATION",
	}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("type %#x", uint8(t))
}

// Flags, of the frames that have them.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	frameHeaderLen = 9
	// preface opens every connection (section 3.4).
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	// defaultWindow and defaultMaxFrame are in force before the peer's SETTINGS (section 6.5.2).
	defaultWindow   = 65535
	defaultMaxFrame = 16384
	maxWindow       = 1<<31 - 1
)

// frameHeader is what every frame starts with (section 4.1).
type frameHeader struct {
	length int
	kind   frameType
	flags  uint8
	stream uint32
}

func (h frameHeader) has(flag uint8) bool { return h.flags&flag != 0 }

func parseFrameHeader(b *[frameHeaderLen]byte) frameHeader {
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   frameType(b[3]),
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & maxWindow,
	}
}

// put writes the header into b, which has room for it.
func (h frameHeader) put(b []byte) {
	_ = b[8]
	b[0], b[1], b[2] = byte(h.length>>16), byte(h.length>>8), byte(h.length)
	b[3], b[4] = byte(h.kind), h.flags
	binary.BigEndian.PutUint32(b[5:], h.stream)
}

func (h frameHeader) appendTo(b []byte) []byte {
	var head [frameHeaderLen]byte
	h.put(head[:])
	return append(b, head[:]...)
}

func appendWindowUpdate(b []byte, stream uint32, n int64) []byte {
	b = frameHeader{length: 4, kind: frameWindowUpdate, stream: stream}.appendTo(b)
	return binary.BigEndian.AppendUint32(b, uint32(n)) // a window is at most maxWindow
}

func appendRSTStream(b []byte, stream uint32, code ErrCode) []byte {
	b = frameHeader{length: 4, kind: frameRSTStream, stream: stream}.appendTo(b)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendPing(b []byte, flags uint8, data [8]byte) []byte {
	b = frameHeader{length: 8, kind: framePing, flags: flags}.appendTo(b)
	return append(b, data[:]...)
}

func appendGoAway(b []byte, code ErrCode) []byte {
	b = frameHeader{length: 8, kind: frameGoAway}.appendTo(b)
	return binary.BigEndian.AppendUint32(append(b, 0, 0, 0, 0), uint32(code)) // the server opens no streams
}
