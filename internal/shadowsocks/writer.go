package shadowsocks

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// errWriteClosed is what a write meets after CloseWrite.
var errWriteClosed = fmt.Errorf("write after the end of the stream: %w", net.ErrClosed)

// writer seals what goes to the server. Its first message carries the salt, the target and the first bytes.
type writer struct {
	dst     transport.StreamConn
	inPlace transport.HeadroomWriter // dst, where it takes messages in place; else nil
	room    transport.Headroom       // dst's

	mu     sync.Mutex
	seal   counter
	salt   []byte         // until the first message is out
	target socksaddr.Addr // goes with it
	timer  *time.Timer    // sends the first message when the client says nothing
	err    error          // the first failure or the end: nothing can follow
}

func (w *writer) init(dst transport.StreamConn, seal counter, salt []byte, target socksaddr.Addr) {
	w.dst, w.seal, w.salt, w.target = dst, seal, salt, target
	w.room = transport.Headroom{Max: transport.RecordSize}
	if h, ok := dst.(transport.HeadroomWriter); ok {
		w.inPlace, w.room = h, h.Headroom()
		w.room.Max = min(w.room.Max, transport.RecordSize-w.room.Front-w.room.Back) // for write's buffers
	}
	w.mu.Lock() // flush reads the timer
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(firstWait, w.flush)
}

func (w *writer) headroom() transport.Headroom {
	return transport.Headroom{
		Front: w.room.Front + lengthSize,
		Back:  w.room.Back + tagSize,
		Max:   min(w.room.Max-lengthSize-tagSize, maxChunk),
	}
}

// messages holds buffers for what cannot be sealed where it stands.
var messages = sync.Pool{New: func() any { return new([transport.RecordSize]byte) }}

// write seals a copy of p, in as many chunks as it takes.
func (w *writer) write(p []byte) (n int, err error) {
	buf := messages.Get().(*[transport.RecordSize]byte)
	defer messages.Put(buf)
	room := w.headroom()
	for n < len(p) {
		m := copy(buf[room.Front:room.Front+room.Max], p[n:])
		if err := w.writeInPlace(buf[:room.Front+m+room.Back], room.Front, room.Back); err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// writeInPlace seals and writes buf[front:len(buf)-back], after the salt and the target if they are still to
// go.
func (w *writer) writeInPlace(buf []byte, front, back int) error {
	n := len(buf) - front - back
	if n <= 0 {
		return nil // an empty chunk says nothing
	}
	if n > maxChunk {
		return fmt.Errorf("shadowsocks: payload of %d bytes in one chunk", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.salt != nil {
		sent, err := w.open(buf[front : front+n])
		if err != nil || sent == n {
			return err
		}
		front += sent
	}
	return w.chunk(buf, front, back)
}

// chunk seals one chunk in place and writes it. The caller holds mu.
func (w *writer) chunk(buf []byte, front, back int) error {
	start := front - lengthSize
	w.seal.sealChunk(buf[start:], len(buf)-back-front)
	return w.send(buf, start, back-tagSize)
}

// send hands buf[front:len(buf)-back] to the layer below. The caller holds mu.
func (w *writer) send(buf []byte, front, back int) error {
	if w.inPlace != nil {
		w.err = w.inPlace.WriteHeadroom(buf, front, back)
	} else {
		_, w.err = w.dst.Write(buf[front : len(buf)-back])
	}
	return w.err
}

// open sends the first message with as much of p as fits, and returns how much that was. The caller holds mu.
func (w *writer) open(p []byte) (n int, err error) {
	buf := messages.Get().(*[transport.RecordSize]byte)
	defer messages.Put(buf)
	w.timer.Stop()
	saltEnd := w.room.Front + copy(buf[w.room.Front:], w.salt)
	w.salt = nil
	payload := w.target.Append(buf[saltEnd+lengthSize:][:0])
	space := w.room.Max - (saltEnd - w.room.Front) - lengthSize - len(payload) - tagSize
	n = min(len(p), space)
	payload = append(payload, p[:n]...)
	w.seal.sealChunk(buf[saltEnd:], len(payload))
	end := saltEnd + lengthSize + len(payload) + tagSize
	return n, w.send(buf[:end+w.room.Back], w.room.Front, w.room.Back)
}

// flush sends the first message without any bytes of the client.
func (w *writer) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.salt != nil {
		_, _ = w.open(nil) // the next write reports the failure
	}
}

// closeWrite ends our half, after the target was named.
func (w *writer) closeWrite() error {
	w.flush()
	w.mu.Lock()
	err := w.err
	if err == nil {
		w.err = errWriteClosed
	}
	w.mu.Unlock()
	if err != nil && err != errWriteClosed { //nolint:errorlint // our own value
		return err
	}
	return w.dst.CloseWrite()
}

// stop waits for a flush in progress; the stream below is closed already, so that it cannot hang.
func (w *writer) stop() {
	w.timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = errWriteClosed
	}
}
