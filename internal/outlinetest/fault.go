package outlinetest

import (
	"encoding/binary"
	"sync"
	"time"
)

// Fault is how the server misbehaves. The zero value is a server that behaves. Fields combine where it makes
// sense.
type Fault struct {
	// On limits the fault to one endpoint, from the HTTP response on. What comes before has no endpoint yet.
	On Endpoint
	// Stage is where new connections get stuck. One that got stuck stays so until it ends.
	Stage Stage
	// Status, if not 0, is the HTTP status that answers a request instead of 101.
	Status int

	// End is how answers end once After bytes of the target's have been sent on a connection and there is
	// more to send or the target has ended. It also strikes connections that are open already.
	End   End
	After int64
	Code  int // of the Close frame for EndCode

	// Framing, if not nil, makes the wire form of every answer instead of one well-formed frame.
	Framing Framing
	// NoPong leaves pings unanswered.
	NoPong bool
	// ReadRate, if not 0, is how many bytes per second the server reads from each connection, TLS included.
	// New connections get a small receive buffer, so that the client notices soon.
	ReadRate int
	// Delay is a round trip's worth of waiting: before the HTTP response, and before the first answer after
	// each time that the client sent something.
	Delay time.Duration
	// Freeze stops all connections, old and new, in both directions while it is set, as if the path was cut
	// without a word. What was in flight arrives when it is cleared.
	Freeze bool
	// BlockUDP drops all packets of HTTP/3 in both directions while it is set, without a word. Freeze does so
	// too. ReadRate and the stages about TCP and TLS do not touch HTTP/3: with RefuseTCP it goes on.
	BlockUDP bool
	// Mux is about HTTP/2 and HTTP/3 alone.
	Mux Mux
}

// Endpoint is one of the two WebSocket endpoints.
type Endpoint int

// The endpoints. AnyEndpoint selects both.
const (
	AnyEndpoint Endpoint = iota
	StreamEndpoint
	PacketEndpoint
)

// Stage is a point on a connection's way at which a fault holds it.
type Stage int

// The stages, in the order of a connection's life.
const (
	NoStage     Stage = iota
	RefuseTCP         // the port is closed: connection refused
	ResetTCP          // TCP opens and is reset at once
	StallTLS          // TCP opens; nothing is read or written
	StallHTTP         // the request is read and never answered
	StallOpened       // the WebSocket opens; nothing is read or written after that
	WrongSecret       // every first packet or chunk fails to open, as with a wrong secret
	Blackhole         // everything is read, pings are answered, nothing reaches a target or comes back
)

// End is a way in which an answer ends.
type End int

// The ends. All but EndNormal, EndCode and EndHold are failures that a client must not take for a clean end.
// A FIN is END_STREAM in HTTP/2 and the end of the stream in HTTP/3.
const (
	EndNormal End = iota
	EndCut        // FIN in the middle of a chunk, without Close frame or close_notify
	EndReset      // RST in the middle of a chunk; RST_STREAM or RESET_STREAM where streams share a connection
	EndFIN        // close_notify and FIN between chunks, without Close frame
	EndCode       // a Close frame with Fault.Code between chunks
	EndHold       // a Close frame with 1000 between chunks; the rest stays open until the client closes it
)

// Framing makes the wire form of one answer. It must not keep message.
type Framing func(message []byte) []byte

const (
	finBit, maskBit             = 0x80, 0x80
	opContinue, opText          = 0, 1
	opBinary, opPong            = 2, 10
	length16, length64          = 126, 127
	tinySizes                   = 5 // the sizes of Tiny go from 1 to this
	fragmentNumber, fragmentMax = 12, 1 << 14
)

// Masked masks the frame, which RFC 6455, section 5.1, forbids to a server.
func Masked(message []byte) []byte {
	mask := [4]byte{1, 2, 3, 4}
	frame := appendFrame(nil, finBit|opBinary, nil, len(message))
	frame[1] |= maskBit
	frame = append(frame, mask[:]...)
	for i, b := range message {
		frame = append(frame, b^mask[i%len(mask)])
	}
	return frame
}

// Text sends the answer as a text message.
func Text(message []byte) []byte {
	return appendFrame(nil, finBit|opText, message, len(message))
}

// Fragmented sends one message in many frames of growing sizes, one of them empty, with pongs in between.
func Fragmented(message []byte) []byte {
	op, size, previous := byte(opBinary), 1, 0
	var wire []byte
	for n := 0; len(message) > size && n < fragmentNumber; n++ {
		wire = appendFrame(wire, op, message[:size], size)
		wire = appendFrame(wire, finBit|opPong, []byte("between"), len("between"))
		message, op = message[size:], opContinue
		size, previous = min(size+previous, fragmentMax), size
	}
	wire = appendFrame(wire, op, nil, 0)
	return appendFrame(wire, finBit|opContinue, message, len(message))
}

// Tiny sends the answer in messages of one to five bytes. It is for streams, where boundaries mean nothing.
func Tiny(message []byte) []byte {
	var wire []byte
	for size := 1; len(message) > 0; size = size%tinySizes + 1 {
		n := min(size, len(message))
		wire = appendFrame(wire, finBit|opBinary, message[:n], n)
		message = message[n:]
	}
	return wire
}

// appendFrame appends a frame whose payload is size bytes long; payload may be appended later.
func appendFrame(b []byte, first byte, payload []byte, size int) []byte {
	b = append(b, first)
	switch {
	case size < length16:
		b = append(b, byte(size))
	case size <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, length16), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, length64), uint64(size))
	}
	return append(b, payload...)
}

// SetFault replaces the current fault; the zero Fault ends it. It fails only when a port that RefuseTCP had
// closed cannot be opened again.
func (s *Server) SetFault(f Fault) error {
	s.fault.store(f)
	if f.Stage == RefuseTCP {
		s.shut()
		return nil
	}
	return s.open()
}

// faultBox holds the current fault.
type faultBox struct {
	mu      sync.Mutex
	now     Fault
	changed chan struct{} // closed by the next store; nil when nobody waits
}

func (b *faultBox) store(f Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = f
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *faultBox) load() Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// on is the fault as one endpoint sees it.
func (b *faultBox) on(e Endpoint) Fault {
	f := b.load()
	if f.On == AnyEndpoint || f.On == e {
		return f
	}
	return Fault{ReadRate: f.ReadRate, Freeze: f.Freeze}
}

// frozen returns nil when connections may move, or a channel that is closed when it is time to ask again.
func (b *faultBox) frozen() <-chan struct{} {
	f, changed := b.watch()
	if !f.Freeze {
		return nil
	}
	return changed
}

// watch returns the fault and a channel that is closed when it is replaced.
func (b *faultBox) watch() (Fault, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.now, b.changed
}
