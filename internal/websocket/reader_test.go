package websocket

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var long = strings.Repeat("long", 70000/4)

// incoming are scripts of a server and what a stream makes of them.
var incoming = []struct {
	name string
	wire []byte
	want string
	err  error // as io.ReadAll returns it: nil for a clean end
}{
	{"one message", wire(frame(binaryFrame, "hello"), frame(closeFrame, "")), "hello", nil},
	{
		"several messages, some empty",
		wire(
			frame(binaryFrame, "he"), frame(binaryFrame, ""), frame(binaryFrame, "llo"),
			frame(binaryFrame, ""), frame(closeFrame, closing(1000, "")),
		),
		"hello", nil,
	},
	{
		"fragmented, with pings in between",
		wire(
			frame(binaryBegin, "h"), frame(pingFrame, "1"), frame(moreToCome, "el"), frame(pingFrame, "2"),
			frame(pongFrame, ""), frame(lastOfMany, "lo"), frame(closeFrame, closing(1000, "done")),
		),
		"hello", nil,
	},
	{
		"fragments without a byte",
		wire(
			frame(binaryBegin, ""), frame(moreToCome, ""), frame(moreToCome, "hello"), frame(lastOfMany, ""),
			frame(binaryBegin, ""), frame(lastOfMany, ""), frame(closeFrame, ""),
		),
		"hello", nil,
	},
	{"longer than 125", wire(frame(binaryFrame, long[:126]), frame(closeFrame, "")), long[:126], nil},
	{"longer than 65535", wire(frame(binaryFrame, long), frame(closeFrame, "")), long, nil},
	{"nothing follows a close frame", wire(frame(closeFrame, ""), frame(binaryFrame, "late")), "", nil},
	{
		"close with an application's code",
		wire(frame(binaryFrame, "hello"), frame(closeFrame, closing(3000, "x"))),
		"hello", &CloseError{Code: 3000, Reason: "x"},
	},

	{"no close frame", wire(frame(binaryFrame, "hello")), "hello", ErrNoClose},
	{"nothing at all", nil, "", ErrNoClose},
	{"no close frame, after a ping", wire(frame(pingFrame, "")), "", ErrNoClose},
	{"cut in a header", []byte{binaryFrame}, "", ErrNoClose},
	{"cut in a long header", []byte{binaryFrame, 126, 0}, "", ErrNoClose},
	{"cut in a payload", wire(frame(binaryFrame, "hello")[:4]), "he", ErrNoClose},
	{"cut between fragments", wire(frame(binaryBegin, "he")), "he", ErrNoClose},
	{"cut in a close frame", wire(frame(closeFrame, closing(1000, ""))[:3]), "", ErrNoClose},
	{"cut behind a close frame's header", wire(frame(closeFrame, closing(1000, ""))[:2]), "", ErrNoClose},
	{"cut in a ping", wire(frame(pingFrame, "hello")[:4]), "", ErrNoClose},

	{"text", wire(frame(textFrame, "hello")), "", ErrProtocol},
	{"text in fragments", wire(frame(byte(opText), "hello")), "", ErrProtocol},
	{"continuation of nothing", wire(frame(lastOfMany, "hello")), "", ErrProtocol},
	{"message goes on", wire(frame(binaryFrame, "hello"), frame(moreToCome, "x")), "hello", ErrProtocol},
	{"empty message goes on", wire(frame(binaryFrame, ""), frame(moreToCome, "x")), "", ErrProtocol},
	{"message inside another", wire(frame(binaryBegin, "he"), frame(binaryFrame, "llo")), "he", ErrProtocol},
	{"message inside an empty one", wire(frame(binaryBegin, ""), frame(binaryFrame, "x")), "", ErrProtocol},
	{"bad close code", wire(frame(binaryFrame, "h"), frame(closeFrame, closing(1005, ""))), "h", ErrProtocol},
	{"long ping", wire(frame(pingFrame, strings.Repeat("a", 126))), "", ErrProtocol},
	{"masked", []byte{binaryFrame, 0x81, 1, 2, 3, 4, 'x'}, "", ErrProtocol},
	{"garbage", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "", ErrProtocol},
}

// The same bytes mean the same in one piece, byte by byte, with a deadline between every two bytes, and with
// an end that comes together with the last of them.
func TestStreamReads(t *testing.T) {
	pieces := map[string]func(io.Reader) io.Reader{
		"in one piece":  func(r io.Reader) io.Reader { return r },
		"byte by byte":  iotest.OneByteReader,
		"with timeouts": func(r io.Reader) io.Reader { return &stutter{src: r} },
		"end with data": iotest.DataErrReader,
	}
	for _, tt := range incoming {
		for how, cut := range pieces {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				script := cut(bytes.NewReader(tt.wire))
				s := NewStream(newScripted(t, script), Options{})
				defer s.Close()
				got, err := io.ReadAll(&patient{src: s})
				wantEnd(t, string(got), err, tt.want, tt.err)
				if _, again := s.Read(make([]byte, 1)); tt.err != nil && !errors.Is(again, err) {
					t.Errorf("read after the end = %v, want %v again", again, err)
				}
			})
		}
	}
}

func wantEnd(t *testing.T, got string, err error, want string, wantErr error) {
	t.Helper()
	if got != want {
		t.Errorf("stream = %.40q (%d bytes), want %.40q (%d bytes)", got, len(got), want, len(want))
	}
	if wantClose, ok := errors.AsType[*CloseError](wantErr); ok {
		gotClose, ok := errors.AsType[*CloseError](err)
		if !ok || *gotClose != *wantClose {
			t.Errorf("stream ends with %v, want %v", err, wantErr)
		}
		return
	}
	if !errors.Is(err, wantErr) {
		t.Errorf("stream ends with %v, want %v", err, wantErr)
	}
}

func TestNoCloseIsNoCleanEnd(t *testing.T) {
	if errors.Is(ErrNoClose, io.EOF) || !errors.Is(ErrNoClose, io.ErrUnexpectedEOF) {
		t.Errorf("ErrNoClose = %v, want one that is io.ErrUnexpectedEOF and not io.EOF", ErrNoClose)
	}
}

// A reader that fails, and not by a deadline, has failed for good.
func TestStreamReadErrorStays(t *testing.T) {
	broken := errors.New("broken")
	script := io.MultiReader(bytes.NewReader(frame(binaryFrame, "hello")[:4]), iotest.ErrReader(broken),
		bytes.NewReader([]byte("llo")))
	s := NewStream(newScripted(t, script), Options{})
	defer s.Close()
	got, err := io.ReadAll(s)
	if string(got) != "he" || !errors.Is(err, broken) {
		t.Errorf("read = %q, %v, want %q, %v", got, err, "he", broken)
	}
	if n, err := s.Read(make([]byte, 10)); n != 0 || !errors.Is(err, broken) {
		t.Errorf("read after the error = %d, %v, want 0, %v", n, err, broken)
	}
}

func TestReadOfNoBytesReturns(t *testing.T) {
	s := NewStream(newScripted(t, bytes.NewReader(nil)), Options{})
	defer s.Close()
	if n, err := s.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v, want 0, nil", n, err)
	}
}
