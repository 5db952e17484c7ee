package websocket

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrNoClose says that the carrier ended although the peer had sent no Close frame: what arrived may be cut
// short.
var ErrNoClose = fmt.Errorf("carrier ended without a close frame: %w", io.ErrUnexpectedEOF)

// frameReader cuts the peer's bytes into frames. It reads exactly what it needs into the caller's buffer, so
// it copies nothing, and it keeps its place when a deadline interrupts it. Only one goroutine may use it.
type frameReader struct {
	src io.Reader
	// onControl is told every control frame; an error from it ends the reading. The payload is valid until it
	// returns.
	onControl func(op opcode, payload []byte) error
	traffic   *Traffic

	head    [maxServerHeader]byte
	headLen int // bytes of the next header read so far

	control    [maxControl]byte
	controlLen int
	inControl  bool // frame is a control frame whose payload is being read

	frame     frameHeader // the frame of which left bytes are still to come
	left      int64
	inMessage bool  // a message has begun, and its final frame is not complete
	err       error // the end; it stays
}

// advance reads up to the start of the next data frame and answers control frames on the way. It must be
// called with left == 0 and returns with left >= 0.
func (r *frameReader) advance() error {
	for r.err == nil {
		if r.inControl {
			if err := r.readControl(); err != nil {
				return r.stop(err)
			}
			continue
		}
		if err := r.readHeader(); err != nil {
			return r.stop(err)
		}
		if !r.frame.op.control() {
			return r.stop(r.beginData())
		}
		r.inControl, r.controlLen = true, 0
	}
	return r.err
}

// readHeader reads and parses one frame header.
func (r *frameReader) readHeader() error {
	if err := r.fillHead(2); err != nil {
		return err
	}
	if err := r.fillHead(headerLen([2]byte(r.head[:2]))); err != nil {
		return err
	}
	var err error
	r.frame, err = parseHeader(r.head[:r.headLen])
	r.headLen = 0
	return err
}

// fillHead reads until n bytes of the header are there.
func (r *frameReader) fillHead(n int) error {
	for r.headLen < n {
		m, err := r.src.Read(r.head[r.headLen:n])
		r.headLen += m
		if err != nil && r.headLen < n {
			return err
		}
	}
	return nil
}

// beginData checks that a data frame may stand here (RFC 6455, section 5.4).
func (r *frameReader) beginData() error {
	switch {
	case r.frame.op == opText:
		return protocolError("text message, binary expected")
	case r.frame.op == opContinuation && !r.inMessage:
		return protocolError("continuation of nothing")
	case r.frame.op == opBinary && r.inMessage:
		return protocolError("new message inside a fragmented one")
	}
	if r.frame.op == opBinary {
		r.traffic.MessagesIn.Add(1)
	}
	r.left = r.frame.length
	r.inMessage = r.left > 0 || !r.frame.fin
	return nil
}

// readControl reads the rest of a control frame and hands it over.
func (r *frameReader) readControl() error {
	for r.controlLen < int(r.frame.length) {
		n, err := r.src.Read(r.control[r.controlLen:r.frame.length])
		r.controlLen += n
		if err != nil && r.controlLen < int(r.frame.length) {
			return err
		}
	}
	r.inControl = false
	return r.onControl(r.frame.op, r.control[:r.controlLen])
}

// read reads payload of the current frame, of which there must be some left.
func (r *frameReader) read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	r.traffic.BytesIn.Add(uint64(n))
	if r.left == 0 && r.frame.fin {
		r.inMessage = false
	}
	if n > 0 {
		return n, nil // an error comes again with the next call
	}
	return 0, r.stop(err)
}

// stop makes every error but a deadline's last, and names the end of the carrier what it is.
func (r *frameReader) stop(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if err == io.EOF && !r.closed() { //nolint:errorlint // a bare EOF is the carrier's or the Close frame's
		err = ErrNoClose
	}
	r.err = err
	return err
}

// closed reports whether the last thing read was a complete Close frame, which onControl turned into an
// error.
func (r *frameReader) closed() bool {
	return r.frame.op == opClose && !r.inControl && r.headLen == 0
}
