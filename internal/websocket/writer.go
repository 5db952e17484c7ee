package websocket

import (
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// errWriteClosed is what a write meets after our Close frame.
var errWriteClosed = fmt.Errorf("write after the close frame: %w", net.ErrClosed)

// frameWriter writes masked frames to the carrier, each with one call. Its mutex is held while the carrier
// takes a frame, so frames never mix.
type frameWriter struct {
	carrier transport.StreamConn
	inPlace transport.HeadroomWriter // the carrier, where it takes frames in place; else nil
	room    transport.Headroom       // the carrier's

	frames  atomic.Uint64 // written so far
	traffic *Traffic

	mu     sync.Mutex
	keys   maskKeys
	ended  bool  // no message may follow
	closed bool  // our Close frame is out: nothing may follow
	err    error // the first failure: a frame may be cut short, so nothing can follow
}

func newFrameWriter(carrier transport.StreamConn, traffic *Traffic) *frameWriter {
	w := &frameWriter{carrier: carrier, traffic: traffic, room: transport.Headroom{Max: transport.RecordSize}}
	if h, ok := carrier.(transport.HeadroomWriter); ok {
		w.inPlace, w.room = h, h.Headroom()
		w.room.Max = min(w.room.Max, transport.RecordSize-w.room.Front-w.room.Back) // for Write's buffers
	}
	return w
}

// headroom is what a message of at most 65535 bytes needs.
func (w *frameWriter) headroom() transport.Headroom {
	return transport.Headroom{
		Front: w.room.Front + shortHeader,
		Back:  w.room.Back,
		Max:   w.room.Max - shortHeader,
	}
}

// writeMessage writes buf[front:len(buf)-back] as one binary message and overwrites buf around and in it. An
// empty message means EOF to Outline's server, so none is ever sent.
func (w *frameWriter) writeMessage(buf []byte, front, back int) error {
	if len(buf)-front-back <= 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return errWriteClosed
	}
	w.traffic.MessagesOut.Add(1)
	w.traffic.BytesOut.Add(uint64(len(buf) - front - back))
	return w.writeFrame(opBinary, buf, front, back)
}

// endData lets no message follow; control frames still may.
func (w *frameWriter) endData() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

// writeControl writes a control frame. A Close frame ends our direction.
func (w *frameWriter) writeControl(op opcode, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writeControlLocked(op, payload)
}

// tryWriteControl is writeControl where no other frame is being written; otherwise it does nothing.
func (w *frameWriter) tryWriteControl(op opcode, payload []byte) (done bool, err error) {
	if !w.mu.TryLock() {
		return false, nil
	}
	defer w.mu.Unlock()
	return true, w.writeControlLocked(op, payload)
}

func (w *frameWriter) writeControlLocked(op opcode, payload []byte) error {
	front := w.room.Front + clientHeaderLen(len(payload))
	buf := make([]byte, front+len(payload)+w.room.Back)
	copy(buf[front:], payload)
	err := w.writeFrame(op, buf, front, w.room.Back)
	if op == opClose && err == nil {
		w.closed = true
	}
	return err
}

// writeFrame masks the payload and puts the header in front of it. The caller holds mu.
func (w *frameWriter) writeFrame(op opcode, buf []byte, front, back int) error {
	switch {
	case w.err != nil:
		return w.err
	case w.closed:
		return errWriteClosed
	}
	payload := buf[front : len(buf)-back]
	start := front - clientHeaderLen(len(payload))
	if start < w.room.Front {
		return fmt.Errorf("websocket: %d bytes before a message of %d are too few", front, len(payload))
	}
	key := w.keys.next()
	mask(payload, key)
	putClientHeader(buf[start:front], op, len(payload), key)
	if w.inPlace != nil {
		w.err = w.inPlace.WriteHeadroom(buf, start, back)
	} else {
		_, w.err = w.carrier.Write(buf[start : len(buf)-back])
	}
	w.frames.Add(1)
	return w.err
}

// maskKeys yields unpredictable masking keys (RFC 6455, section 5.3) and asks the system for several at a
// time.
type maskKeys struct {
	block [8 * maskLen]byte
	used  int
}

func (k *maskKeys) next() (key [maskLen]byte) {
	if k.used %= len(k.block); k.used == 0 {
		_, _ = rand.Read(k.block[:]) // never fails
	}
	copy(key[:], k.block[k.used:])
	k.used += maskLen
	return key
}
