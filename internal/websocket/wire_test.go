package websocket

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// First bytes of frames.
const (
	binaryFrame = finBit | byte(opBinary)
	textFrame   = finBit | byte(opText)
	closeFrame  = finBit | byte(opClose)
	pingFrame   = finBit | byte(opPing)
	pongFrame   = finBit | byte(opPong)
	binaryBegin = byte(opBinary) // of a fragmented message
	moreToCome  = byte(opContinuation)
	lastOfMany  = finBit | byte(opContinuation)
)

// wire joins what a server sends.
func wire(pieces ...[]byte) []byte { return slices.Concat(pieces...) }

// frame returns a server's frame, which may be ill-formed: first is its first byte.
func frame(first byte, payload string) []byte {
	return append(header(first, len(payload)), payload...)
}

func header(first byte, n int) []byte {
	switch {
	case n < 126:
		return []byte{first, byte(n)}
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n))
}

// isEOF reports whether err is the bare io.EOF, as readers have to return it.
func isEOF(err error) bool { return err == io.EOF } //nolint:errorlint // a wrapped one is no clean end

// closing returns the payload of a Close frame.
func closing(code int, reason string) string {
	return string(appendClose(nil, code)) + reason
}

// scripted is a carrier that reads from a script and writes to a pipe.
type scripted struct {
	*transporttest.PipeConn
	script io.Reader
}

func (s *scripted) Read(p []byte) (int, error) { return s.script.Read(p) }

// newScripted returns a carrier that reads script; what is written to it goes nowhere.
func newScripted(t testing.TB, script io.Reader) *scripted {
	t.Helper()
	a, b := transporttest.Pipe()
	_ = b.CloseRead()
	t.Cleanup(func() { _ = a.Close() })
	return &scripted{PipeConn: a, script: script}
}

// stutter delivers one byte a call, with a deadline that passes before each.
type stutter struct {
	src    io.Reader
	passed bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.passed = !s.passed; s.passed {
		return 0, os.ErrDeadlineExceeded
	}
	return s.src.Read(p[:min(1, len(p))])
}

// patient reads on after deadlines, and counts them.
type patient struct {
	src       io.Reader
	deadlines int
}

func (p *patient) Read(b []byte) (int, error) {
	for {
		n, err := p.src.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		p.deadlines++
	}
}
