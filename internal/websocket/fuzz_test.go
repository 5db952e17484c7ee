package websocket

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// verdict is what a stream of frames means: the payload of its data, and how it ends.
type verdict struct {
	data  []byte
	pings int
	end   string
}

// The ends that a verdict tells apart.
const (
	endClean    = "clean"
	endCode     = "close code"
	endProtocol = "protocol error"
	endCut      = "cut"
)

// oracle reads wire with gobwas/ws and this project's rules: binary messages only, a Close frame is the end.
func oracle(wire []byte) (v verdict) {
	r := bytes.NewReader(wire)
	state := ws.StateClientSide
	for {
		h, end := oracleHeader(r, state)
		if end != "" {
			v.end = end
			return v
		}
		payload := make([]byte, min(h.Length, int64(r.Len())))
		_, _ = io.ReadFull(r, payload)
		whole := int64(len(payload)) == h.Length
		switch h.OpCode {
		case ws.OpBinary, ws.OpContinuation:
			v.data = append(v.data, payload...)
			if state = state.Clear(ws.StateFragmented); !h.Fin {
				state = state.Set(ws.StateFragmented)
			}
		case ws.OpPing:
			if whole {
				v.pings++
			}
		case ws.OpClose:
			if whole {
				v.end = oracleClose(payload)
				return v
			}
		default: // a pong
		}
		if !whole {
			v.end = endCut
			return v
		}
	}
}

// oracleHeader returns a header, or how it ends the stream.
func oracleHeader(r io.Reader, state ws.State) (h ws.Header, end string) {
	var first [2]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return h, endCut
	}
	masked := first[1]&maskBit != 0 // refused for its bit, before there is a key
	first[1] &^= maskBit
	h, err := ws.ReadHeader(io.MultiReader(bytes.NewReader(first[:]), r))
	switch {
	case errors.Is(err, ws.ErrHeaderLengthMSB):
		return h, endProtocol
	case err != nil:
		return h, endCut
	case masked, ws.CheckHeader(h, state) != nil, h.OpCode == ws.OpText:
		return h, endProtocol
	}
	return h, ""
}

func oracleClose(payload []byte) string {
	if len(payload) == 0 {
		return endClean
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if code >= 1012 && code <= 1014 { // registered later than the library knows
		code = ws.StatusInternalServerError
	}
	switch {
	case ws.CheckCloseFrameData(code, reason) != nil, code >= 5000: // which the library accepts
		return endProtocol
	case code == ws.StatusNormalClosure, code == ws.StatusGoingAway:
		return endClean
	}
	return endCode
}

// ours reads frames with the frame reader into a buffer of that size.
func ours(from io.Reader, size int) (v verdict) {
	r := frameReader{src: from, traffic: new(Traffic)}
	r.onControl = func(op opcode, payload []byte) error {
		if op == opPing {
			v.pings++
		}
		if op == opClose {
			return parseClose(payload)
		}
		return nil
	}
	src := &patient{src: readerFunc(func(p []byte) (int, error) {
		if r.left == 0 {
			return 0, r.advance()
		}
		return r.read(p)
	})}
	var err error
	for buf := make([]byte, size); err == nil; {
		var n int
		n, err = src.Read(buf)
		v.data = append(v.data, buf[:n]...)
	}
	v.end = map[bool]string{true: endCut, false: "unknown: " + err.Error()}[errors.Is(err, ErrNoClose)]
	if isEOF(err) {
		v.end = endClean
	}
	if errors.Is(err, ErrProtocol) {
		v.end = endProtocol
	}
	if _, ok := errors.AsType[*CloseError](err); ok {
		v.end = endCode
	}
	return v
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// FuzzFrameReader compares what the frame reader makes of any bytes with what another implementation does. It
// reads into the caller's buffer, and has none of its own that grows.
func FuzzFrameReader(f *testing.F) {
	for _, tt := range incoming {
		if len(tt.wire) < 1000 { // long ones slow the engine down
			f.Add(tt.wire, uint8(7))
		}
	}
	f.Add([]byte{binaryFrame, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2}, uint8(1))
	f.Add([]byte{binaryFrame, maskBit | 8}, uint8(1))
	f.Add([]byte{binaryFrame, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, wire []byte, size uint8) {
		want := oracle(wire)
		for _, src := range []io.Reader{bytes.NewReader(wire), &stutter{src: bytes.NewReader(wire)}} {
			got := ours(src, int(size)+1)
			if !bytes.Equal(got.data, want.data) || got.pings != want.pings || got.end != want.end {
				t.Errorf("%x from %T = %x, %d pings, %s; want %x, %d pings, %s",
					wire, src, got.data, got.pings, got.end, want.data, want.pings, want.end)
			}
		}
	})
}

// FuzzClientFrame writes any payload in both ways and reads it with another implementation.
func FuzzClientFrame(f *testing.F) {
	for _, n := range []int{0, 1, 125, 126, 1000} {
		f.Add(someBytes(n), uint8(0), uint8(0))
	}
	f.Add([]byte("hello"), uint8(3), uint8(200))
	a, _ := transporttest.Pipe()
	f.Fuzz(func(t *testing.T, payload []byte, moreFront, moreBack uint8) {
		r := &recorder{PipeConn: a}
		p := NewPackets(r, Options{PingAfter: -1})
		if _, err := p.Write(payload); err != nil {
			t.Fatal(err)
		}
		room := p.Headroom()
		front, back := room.Front+int(moreFront), room.Back+int(moreBack)
		buf := slices.Concat(make([]byte, front), payload, make([]byte, back))
		if err := p.WriteHeadroom(buf, front, back); err != nil {
			t.Fatal(err)
		}
		if want := min(len(payload), 1) * 2; len(r.writes) != want {
			t.Fatalf("%d bytes made %d writes, want %d", len(payload), len(r.writes), want)
		}
		for _, w := range r.writes {
			if len(w) != clientHeaderLen(len(payload))+len(payload) {
				t.Errorf("%d bytes made a frame of %d", len(payload), len(w))
			}
			if _, got := parse(t, w); !bytes.Equal(got, payload) {
				t.Errorf("payload arrives as %x, want %x", got, payload)
			}
		}
	})
}
