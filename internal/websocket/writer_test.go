package websocket

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// recorder is a carrier that notes every write.
type recorder struct {
	*transporttest.PipeConn
	writes [][]byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, bytes.Clone(p))
	return len(p), nil
}

func newRecorder(t testing.TB) *recorder {
	t.Helper()
	a, _ := transporttest.Pipe()
	t.Cleanup(func() { _ = a.Close() })
	return &recorder{PipeConn: a}
}

// roomy is a carrier that takes frames in place.
type roomy struct {
	*recorder
	room transport.Headroom
}

func (r *roomy) Headroom() transport.Headroom { return r.room }

func (r *roomy) WriteHeadroom(buf []byte, front, back int) error {
	for i := range r.room.Front {
		buf[front-1-i] = 0xFF // the carrier's own header
	}
	for i := range r.room.Back {
		buf[len(buf)-back+i] = 0xFF
	}
	_, err := r.Write(buf[front : len(buf)-back])
	return err
}

// parse returns the payload of the one frame in b, unmasked.
func parse(t *testing.T, b []byte) (ws.Header, []byte) {
	t.Helper()
	r := bytes.NewReader(b)
	h, err := ws.ReadHeader(r)
	if err != nil || int64(r.Len()) != h.Length || !h.Masked || !h.Fin || h.Rsv != 0 {
		t.Fatalf("header = %+v, %v with %d bytes behind it, want one masked final frame", h, err, r.Len())
	}
	payload := b[len(b)-r.Len():]
	ws.Cipher(payload, h.Mask, 0)
	return h, payload
}

func someBytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i ^ i>>8)
	}
	return p
}

// One write that fits is one message and one write to the carrier, with the shortest form of the length.
func TestStreamWriteIsOneWrite(t *testing.T) {
	r := newRecorder(t)
	s := NewStream(r, Options{PingAfter: -1})
	for _, n := range []int{1, 125, 126, 16384 - shortHeader} {
		want := someBytes(n)
		r.writes = nil
		if got, err := s.Write(want); got != n || err != nil {
			t.Fatalf("Write(%d bytes) = %d, %v", n, got, err)
		}
		if len(r.writes) != 1 {
			t.Fatalf("Write(%d bytes) made %d writes, want 1", n, len(r.writes))
		}
		if got := len(r.writes[0]); got != clientHeaderLen(n)+n {
			t.Errorf("Write(%d bytes) wrote %d bytes, want %d more", n, got, clientHeaderLen(n))
		}
		if h, got := parse(t, r.writes[0]); h.OpCode != ws.OpBinary || !bytes.Equal(got, want) {
			t.Errorf("Write(%d bytes) wrote %v with another payload", n, h)
		}
	}
}

func TestStreamWriteSplitsAtRecords(t *testing.T) {
	r := newRecorder(t)
	s := NewStream(r, Options{PingAfter: -1})
	want := someBytes(40000)
	if _, err := s.Write(want); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for i, w := range r.writes {
		if len(w) > transport.RecordSize || i+1 < len(r.writes) && len(w) != transport.RecordSize {
			t.Errorf("write %d of %d has %d bytes, want records of %d",
				i, len(r.writes), len(w), transport.RecordSize)
		}
		_, payload := parse(t, w)
		got = append(got, payload...)
	}
	if !bytes.Equal(got, want) {
		t.Error("the messages do not add up to what was written")
	}
}

// An empty message is EOF to Outline's server.
func TestNoEmptyMessage(t *testing.T) {
	r := newRecorder(t)
	s, p := NewStream(r, Options{PingAfter: -1}), NewPackets(r, Options{PingAfter: -1})
	for _, w := range []net.Conn{s, p} {
		if n, err := w.Write(nil); n != 0 || err != nil {
			t.Errorf("%T.Write(nil) = %d, %v, want 0, nil", w, n, err)
		}
	}
	room := s.Headroom()
	if err := s.WriteHeadroom(make([]byte, room.Front+room.Back), room.Front, room.Back); err != nil {
		t.Errorf("WriteHeadroom(nothing) = %v, want nil", err)
	}
	if len(r.writes) != 0 {
		t.Errorf("nothing made %d writes, want 0", len(r.writes))
	}
}

func TestMaskingKeysDiffer(t *testing.T) {
	r := newRecorder(t)
	s := NewStream(r, Options{PingAfter: -1})
	const n = 100
	keys := make(map[[maskLen]byte]bool)
	for range n {
		if _, err := s.Write([]byte("same")); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range r.writes {
		h, err := ws.ReadHeader(bytes.NewReader(w))
		if err != nil {
			t.Fatal(err)
		}
		keys[h.Mask] = true
	}
	if len(keys) != n {
		t.Errorf("%d frames have %d different masking keys, want %d", n, len(keys), n)
	}
}

// A carrier that takes frames in place gets its room in front and behind, and the whole still fills a record.
func TestWriteOverCarrierWithRoom(t *testing.T) {
	rooms := map[string]transport.Headroom{
		"like HTTP/2":      {Front: 9, Max: 16384 - 9},
		"in front, behind": {Front: 9, Back: 5, Max: 1000},
		"without a limit":  {Front: 9, Back: 5, Max: 1 << 20},
	}
	for name, room := range rooms {
		t.Run(name, func(t *testing.T) {
			r := &roomy{recorder: newRecorder(t), room: room}
			s := NewStream(r, Options{PingAfter: -1})
			h := s.Headroom()
			if whole := h.Front + h.Max + h.Back; whole > transport.RecordSize {
				t.Errorf("Headroom() = %+v, more than a record in all", h)
			}
			want := someBytes(40000)
			if _, err := s.Write(want); err != nil {
				t.Fatal(err)
			}
			_ = s.CloseWrite()
			var got []byte
			for _, w := range r.writes[:len(r.writes)-1] {
				_, payload := parse(t, w)
				got = append(got, payload...)
			}
			if !bytes.Equal(got, want) {
				t.Error("the messages do not add up to what was written")
			}
			if last, _ := parse(t, r.writes[len(r.writes)-1]); last.OpCode != ws.OpClose {
				t.Errorf("last frame = %v, want a close frame", last)
			}
		})
	}
}

func TestWriteHeadroomTooSmall(t *testing.T) {
	r := newRecorder(t)
	s := NewStream(r, Options{PingAfter: -1})
	if err := s.WriteHeadroom(make([]byte, 1+70000), 8, 0); err == nil {
		t.Error("WriteHeadroom of 69993 bytes with 8 in front = nil, want an error: its header takes 14")
	}
	if err := s.WriteHeadroom(make([]byte, 10+20), 10, 0); err != nil {
		t.Errorf("WriteHeadroom after a refused one = %v, want nil", err)
	}
	if len(r.writes) != 1 {
		t.Errorf("carrier got %d writes, want 1", len(r.writes))
	}
}

// A write that a deadline cut leaves half a frame behind, so nothing may follow it.
func TestNothingFollowsCutFrame(t *testing.T) {
	carrier, _ := newPair()
	s := NewStream(carrier, Options{PingAfter: -1})
	defer s.Close()
	if err := s.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(someBytes(1 << 20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write to a peer that does not read = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	_ = s.SetWriteDeadline(time.Time{})
	if _, err := s.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write after it = %v, want %v again", err, os.ErrDeadlineExceeded)
	}
	if err := s.CloseWrite(); err == nil {
		t.Error("CloseWrite() after it = nil, want an error")
	}
}
