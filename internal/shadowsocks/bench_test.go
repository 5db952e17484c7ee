package shadowsocks

import (
	"net"
	"net/netip"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// sink is a connection that takes everything at no cost.
type sink struct{ transport.StreamConn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }

func newSink() sink {
	a, _ := transporttest.Pipe()
	return sink{a}
}

// benchPayload is the largest payload that fills a TLS record over HTTP/1.1.
const benchPayload = 16342

func BenchmarkSealOpen(b *testing.B) {
	for _, c := range ciphers {
		b.Run(c.name, func(b *testing.B) {
			aead, err := newTestKey(b, c.name).session(make([]byte, c.keySize))
			if err != nil {
				b.Fatal(err)
			}
			seal, open := counter{aead: aead}, counter{aead: aead}
			buf := make([]byte, lengthSize+benchPayload+tagSize)
			b.SetBytes(benchPayload)
			b.ReportAllocs()
			for b.Loop() {
				seal.sealChunk(buf, benchPayload)
				if _, err := open.openLength((*[lengthSize]byte)(buf)); err != nil {
					b.Fatal(err)
				}
				if err := open.open(buf[lengthSize:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkStreamWriteHeadroom(b *testing.B) {
	for _, c := range ciphers {
		b.Run(c.name, func(b *testing.B) {
			s := dial(b, newSink(), c.name)
			defer s.Close()
			room := s.Headroom()
			buf := make([]byte, room.Front+room.Max+room.Back)
			b.SetBytes(int64(room.Max))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.WriteHeadroom(buf, room.Front, room.Back); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// chunkSource yields chunks without end, all sealed ahead of time; the reader's nonce is set back to the
// first.
type chunkSource struct {
	sink
	wire []byte
	at   int
}

func (s *chunkSource) Read(p []byte) (int, error) {
	n := copy(p, s.wire[s.at:])
	s.at += n
	return n, nil
}

// newChunkReader returns a stream that reads the same chunk each time that again is called.
func newChunkReader(tb testing.TB, cipherName string) (s *stream, again func()) {
	tb.Helper()
	wire := newPeerKey(cipherName, testSecret).answer(string(make([]byte, benchPayload)))
	src := &chunkSource{sink: newSink(), wire: wire}
	s = dial(tb, src, cipherName)
	tb.Cleanup(func() { _ = s.Close() })
	return s, func() {
		src.at, s.in.open.nonce = min(src.at, s.in.key.cipher.SaltSize()), [nonceSize]byte{}
	}
}

func BenchmarkStreamRead(b *testing.B) {
	for _, c := range ciphers {
		b.Run(c.name, func(b *testing.B) {
			s, again := newChunkReader(b, c.name)
			buf := make([]byte, benchPayload+tagSize)
			b.SetBytes(benchPayload)
			b.ReportAllocs()
			for b.Loop() {
				again()
				if n, err := s.Read(buf); n != benchPayload || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkHKDF(b *testing.B) {
	master, salt, subkey := make([]byte, 32), make([]byte, 32), make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		hkdfSHA1(subkey, master, salt)
	}
}

func BenchmarkPacketRoundTrip(b *testing.B) {
	for _, c := range ciphers {
		b.Run(c.name, func(b *testing.B) {
			key := newPeerKey(c.name, testSecret)
			d := &loop{packet: key.packet(b, "192.0.2.1:53", string(make([]byte, 1400)))}
			conn := listen(b, pipeEndpoint{d}, c.name, nil)
			target := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:53"))
			buf := make([]byte, 1500)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.WriteTo(buf[:1400], target); err != nil {
					b.Fatal(err)
				}
				if n, _, err := conn.ReadFrom(buf); n != 1400 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// loop receives the same packet again and again.
type loop struct {
	net.Conn
	packet []byte
}

func (l *loop) Read(p []byte) (int, error)  { return copy(p, l.packet), nil }
func (l *loop) Write(p []byte) (int, error) { return len(p), nil }

// Moving chunks costs no allocation in the steady state.
func TestStreamAllocations(t *testing.T) {
	for _, c := range ciphers {
		w := dial(t, newSink(), c.name)
		defer w.Close()
		room := w.Headroom()
		out := make([]byte, room.Front+room.Max+room.Back)
		write := func() { _ = w.WriteHeadroom(out, room.Front, room.Back) }
		if n := testing.AllocsPerRun(100, write); n != 0 {
			t.Errorf("%s: WriteHeadroom makes %v allocations, want 0", c, n)
		}
		r, again := newChunkReader(t, c.name)
		in := make([]byte, benchPayload+tagSize)
		read := func() {
			again()
			if n, err := r.Read(in); n != benchPayload || err != nil {
				t.Fatalf("read = %d, %v", n, err)
			}
		}
		if n := testing.AllocsPerRun(100, read); n != 0 {
			t.Errorf("%s: Read makes %v allocations, want 0", c, n)
		}
	}
}
