package websocket

import (
	"io"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// sink is a carrier that takes everything at no cost, and repeats what it is to read for ever.
type sink struct {
	transport.StreamConn
	wire []byte
	at   int
}

func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

func (s *sink) Read(p []byte) (int, error) {
	n := copy(p, s.wire[s.at:])
	s.at = (s.at + n) % len(s.wire)
	return n, nil
}

func newSink(wire []byte) *sink {
	a, _ := transporttest.Pipe()
	return &sink{StreamConn: a, wire: wire}
}

func BenchmarkStreamWriteHeadroom(b *testing.B) {
	s := NewStream(newSink(nil), Options{PingAfter: -1})
	room := s.Headroom()
	buf := make([]byte, room.Front+room.Max+room.Back)
	b.SetBytes(int64(room.Max))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.WriteHeadroom(buf, room.Front, room.Back); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStreamWrite(b *testing.B) {
	s := NewStream(newSink(nil), Options{PingAfter: -1})
	buf := make([]byte, s.Headroom().Max)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStreamRead(b *testing.B) {
	buf := make([]byte, 16<<10)
	s := NewStream(newSink(frame(binaryFrame, string(buf))), Options{PingAfter: -1})
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(s, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPacketsRoundTrip(b *testing.B) {
	buf := make([]byte, 1400)
	p := NewPackets(newSink(frame(binaryFrame, string(buf))), Options{PingAfter: -1})
	b.SetBytes(int64(2 * len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMask(b *testing.B) {
	p := make([]byte, 16<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		mask(p, [maskLen]byte{1, 2, 3, 4})
	}
}

// Moving data costs no allocation in the steady state.
func TestStreamAllocations(t *testing.T) {
	buf := make([]byte, transport.RecordSize)
	s := NewStream(newSink(frame(binaryFrame, string(buf))), Options{PingAfter: -1})
	room := s.Headroom()
	for name, f := range map[string]func(){
		"WriteHeadroom": func() { _ = s.WriteHeadroom(buf, room.Front, room.Back) },
		"Read":          func() { _, _ = io.ReadFull(s, buf) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s makes %v allocations, want 0", name, n)
		}
	}
}
