package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// readPackets reads packets into a buffer of that size until the end.
func readPackets(read func(b []byte) (int, error), size int) (got []string, err error) {
	buf := make([]byte, size)
	for {
		n, err := read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return got, err
		}
		got = append(got, string(buf[:n]))
	}
}

func TestPacketsRead(t *testing.T) {
	const size = 10
	whole := strings.Repeat("w", size)
	tests := []struct {
		name string
		wire []byte
		want []string
	}{
		{"one message each", wire(frame(binaryFrame, "a"), frame(binaryFrame, "bc")), []string{"a", "bc"}},
		{
			"empty messages",
			wire(frame(binaryFrame, ""), frame(binaryFrame, "a"), frame(binaryFrame, "")),
			[]string{"a"},
		},
		{
			"fragmented, with a ping in between",
			wire(frame(binaryBegin, "a"), frame(pingFrame, ""), frame(lastOfMany, "b")),
			[]string{"ab"},
		},
		{
			"fragmented, the last is empty",
			wire(frame(binaryBegin, "ab"), frame(lastOfMany, ""), frame(binaryFrame, "c")),
			[]string{"ab", "c"},
		},
		{
			"empty fragments",
			wire(frame(binaryBegin, ""), frame(lastOfMany, ""), frame(binaryFrame, "c")),
			[]string{"c"},
		},
		{"just fits", wire(frame(binaryFrame, whole)), []string{whole}},
		{
			"just fits, in fragments",
			wire(frame(binaryBegin, whole[1:]), frame(moreToCome, "w"), frame(lastOfMany, "")),
			[]string{whole},
		},
		{"too long", wire(frame(binaryFrame, whole+"x"), frame(binaryFrame, "c")), []string{"c"}},
		{
			"too long in its last fragment",
			wire(frame(binaryBegin, whole), frame(lastOfMany, "x"), frame(binaryFrame, "c")),
			[]string{"c"},
		},
		{
			"much too long",
			wire(frame(binaryFrame, strings.Repeat("x", 100_000)), frame(binaryFrame, "c")),
			[]string{"c"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			script := wire(tt.wire, frame(closeFrame, ""))
			p := NewPackets(newScripted(t, bytes.NewReader(script)), Options{})
			defer p.Close()
			if got, err := readPackets(p.Read, size); !slices.Equal(got, tt.want) || !isEOF(err) {
				t.Errorf("packets = %q, %v, want %q, EOF", got, err, tt.want)
			}
		})
	}
}

// Waiting holds no buffer; the message is there afterwards.
func TestPacketsWaitRead(t *testing.T) {
	script := wire(frame(binaryFrame, ""), frame(pingFrame, ""), frame(binaryFrame, "ab"),
		frame(closeFrame, ""))
	p := NewPackets(newScripted(t, bytes.NewReader(script)), Options{})
	defer p.Close()
	for range 2 {
		if err := p.WaitRead(); err != nil {
			t.Fatalf("WaitRead() = %v, want nil", err)
		}
	}
	buf := make([]byte, 10)
	if n, err := p.Read(buf); err != nil || string(buf[:n]) != "ab" {
		t.Errorf("Read() = %q, %v, want ab", buf[:n], err)
	}
	if err := p.WaitRead(); !isEOF(err) {
		t.Errorf("WaitRead() at the end = %v, want EOF", err)
	}
}

// interrupted fails once with a deadline, after n bytes.
func interrupted(wire []byte, n int) io.Reader {
	return io.MultiReader(bytes.NewReader(wire[:n]), &deadlineOnce{}, bytes.NewReader(wire[n:]))
}

type deadlineOnce struct{ passed bool }

func (d *deadlineOnce) Read([]byte) (int, error) {
	if !d.passed {
		d.passed = true
		return 0, os.ErrDeadlineExceeded
	}
	return 0, io.EOF
}

// A deadline in the middle of a message loses that message alone: the next one is whole.
func TestPacketsDeadlineAnywhere(t *testing.T) {
	script := wire(frame(binaryBegin, "abc"), frame(lastOfMany, ""), frame(binaryFrame, "def"),
		frame(closeFrame, ""))
	next := map[string]func(p *Packets, b []byte) (int, error){
		"read": (*Packets).Read,
		"wait, then read": func(p *Packets, b []byte) (int, error) {
			for {
				if err := p.WaitRead(); err == nil {
					return p.Read(b)
				} else if !errors.Is(err, os.ErrDeadlineExceeded) {
					return 0, err
				}
			}
		},
	}
	for how, read := range next {
		for n := range len(script) {
			p := NewPackets(newScripted(t, interrupted(script, n)), Options{PingAfter: -1})
			got, _ := readPackets(func(b []byte) (int, error) { return read(p, b) }, 10)
			whole := slices.Equal(got, []string{"abc", "def"})
			first := slices.Equal(got, []string{"def"}) && n > 2 && n < 7 // inside of the first
			second := slices.Equal(got, []string{"abc"}) && n > 9         // inside of the second
			if !whole && !first && !second {
				t.Errorf("%s, deadline after %d bytes: packets = %q, want both or the other", how, n, got)
			}
			_ = p.Close()
		}
	}
}

func TestPacketsWriteIsOneMessage(t *testing.T) {
	const small = packetFrame - maxClientHeader
	for _, n := range []int{1, 125, 126, small, small + 1, packetFrame, 65535, 65536, maxMessage} {
		r := newRecorder(t)
		p := NewPackets(r, Options{PingAfter: -1})
		want := someBytes(n)
		if got, err := p.Write(want); got != n || err != nil {
			t.Fatalf("Write(%d bytes) = %d, %v", n, got, err)
		}
		room := p.Headroom()
		buf := slices.Concat(make([]byte, room.Front), want, make([]byte, room.Back))
		if err := p.WriteHeadroom(buf, room.Front, room.Back); err != nil {
			t.Fatalf("WriteHeadroom(%d bytes) = %v", n, err)
		}
		if len(r.writes) != 2 {
			t.Fatalf("%d bytes made %d writes for two messages, want 2", n, len(r.writes))
		}
		for _, w := range r.writes {
			if h, got := parse(t, w); h.OpCode != ws.OpBinary || !bytes.Equal(got, want) {
				t.Errorf("%d bytes went out as %v with another payload", n, h)
			}
		}
		if !bytes.Equal(want, someBytes(n)) {
			t.Errorf("Write(%d bytes) changed its argument", n)
		}
	}
}

func TestPacketsEnd(t *testing.T) {
	carrier, peer := newPair()
	p := NewPackets(carrier, Options{})
	if _, err := p.Write([]byte("query")); err != nil {
		t.Fatal(err)
	}
	if err := p.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read() after the deadline = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
	wantOneClose(t, peer.frames(t))
	if _, err := p.Write([]byte("late")); err == nil {
		t.Error("Write() after Close = nil, want an error")
	}
}

// endpoint hands out a carrier, or fails.
type endpoint struct {
	carrier transport.StreamConn
	err     error
}

func (e endpoint) ConnectStream(context.Context) (transport.StreamConn, error) {
	return e.carrier, e.err
}

func TestEndpoints(t *testing.T) {
	broken := errors.New("broken")
	failing := endpoint{err: broken}
	if _, err := (StreamEndpoint{Carrier: failing}).ConnectStream(t.Context()); !errors.Is(err, broken) {
		t.Errorf("ConnectStream() = %v, want %v", err, broken)
	}
	if _, err := (PacketEndpoint{Carrier: failing}).ConnectPacket(t.Context()); !errors.Is(err, broken) {
		t.Errorf("ConnectPacket() = %v, want %v", err, broken)
	}
	carrier, peer := newPair()
	s, err := StreamEndpoint{Carrier: endpoint{carrier: carrier}}.ConnectStream(t.Context())
	if err != nil || s.LocalAddr() != carrier.LocalAddr() || s.RemoteAddr() != carrier.RemoteAddr() {
		t.Errorf("ConnectStream() = %v, %v, want a stream with the carrier's addresses", s, err)
	}
	_ = s.Close()
	wantOneClose(t, peer.frames(t))
	carrier, peer = newPair()
	p, err := PacketEndpoint{Carrier: endpoint{carrier: carrier}}.ConnectPacket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	wantOneClose(t, peer.frames(t))
}
