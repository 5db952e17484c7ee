package resolved

import "encoding/binary"

// body is the arguments of a call, in the form of D-Bus, little-endian. Values are aligned to their size,
// counted from the beginning. Its methods return the longer body.
type body struct {
	signature string
	bytes     []byte
}

func newBody(signature string) body { return body{signature: signature} }

// align pads with zeros.
func (b body) align(n int) body {
	for len(b.bytes)%n != 0 {
		b.bytes = append(b.bytes, 0)
	}
	return b
}

func (b body) raw(p []byte) body {
	b.bytes = append(b.bytes, p...)
	return b
}

func (b body) uint32(v uint32) body {
	b = b.align(4)
	b.bytes = binary.LittleEndian.AppendUint32(b.bytes, v)
	return b
}

func (b body) int32(v int) body { return b.uint32(uint32(int32(v))) }

// bool32 is a boolean, which is 0 or 1.
func (b body) bool32(v uint32) body { return b.uint32(v) }

func (b body) string(s string) body {
	b = b.uint32(uint32(len(s)))
	b.bytes = append(append(b.bytes, s...), 0)
	return b
}

// sign is a signature, which has a length of one byte.
func (b body) sign(s string) body {
	b.bytes = append(append(append(b.bytes, byte(len(s))), s...), 0)
	return b
}

// array has elements that are aligned to n; fill appends them. Its length is without the padding before the
// first.
func (b body) array(n int, fill func(body) body) body {
	b = b.uint32(0)
	at := len(b.bytes) - 4
	b = b.align(n)
	first := len(b.bytes)
	b = fill(b)
	binary.LittleEndian.PutUint32(b.bytes[at:], uint32(len(b.bytes)-first))
	return b
}

// The kinds of messages and header fields.
const (
	kindCall   = 1
	kindReturn = 2
	kindError  = 3

	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSignature   = 8

	flagNoAutoStart = 2
)

// method names what is called.
type method struct{ destination, path, face, member string }

// call is a whole message.
func (m method) call(serial uint32, args body) []byte {
	h := body{}.raw([]byte{'l', kindCall, flagNoAutoStart, 1})
	h = h.uint32(uint32(len(args.bytes))).uint32(serial)
	h = h.array(8, func(b body) body {
		b = b.field(fieldPath, "o", m.path).field(fieldInterface, "s", m.face)
		b = b.field(fieldMember, "s", m.member).field(fieldDestination, "s", m.destination)
		if args.signature != "" {
			b = b.align(8).raw([]byte{fieldSignature}).sign("g").sign(args.signature)
		}
		return b
	})
	return append(h.align(8).bytes, args.bytes...)
}

// field is one of the header: a code and a variant.
func (b body) field(code byte, signature, value string) body {
	return b.align(8).raw([]byte{code}).sign(signature).string(value)
}
