package h2

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// endlessDownload is a server that repeats one frame as fast as it is read, and takes everything.
type endlessDownload struct {
	net.Conn // panics
	frame    []byte
	at       int
}

func (e *endlessDownload) Read(p []byte) (int, error) {
	n := copy(p, e.frame[e.at:])
	e.at = (e.at + n) % len(e.frame)
	return n, nil
}

func (*endlessDownload) Write(p []byte) (int, error) { return len(p), nil }

// benchConn returns a connection whose reading is left to the benchmark, with one stream.
func benchConn(frame []byte) (*Conn, *Stream) {
	c := &Conn{
		net: &endlessDownload{frame: frame}, budget: NewBudget(1 << 30), done: make(chan struct{}),
		peer: defaultSettings(), streams: make(map[uint32]*Stream), nextID: 1,
		sendLeft: 1 << 60, recvLeft: connWindow, rtt: time.Millisecond,
	}
	c.out = newOutput(c.net, c.done)
	c.in.init(c)
	s, _, err := c.newStream()
	if err != nil {
		panic(err)
	}
	s.sendLeft, s.status = 1<<60, 200
	return c, s
}

// upload sends one frame, which is one record of TLS.
func upload() func() error {
	_, s := benchConn(nil)
	buf := make([]byte, transport.RecordSize)
	return func() error { return s.WriteHeadroom(buf, frameHeaderLen, 0) }
}

// download receives one frame of 16 KiB and reads it.
func download() func() error {
	frame := append(frameHeader{length: blockSize, stream: 1}.appendTo(nil), make([]byte, blockSize)...)
	c, s := benchConn(frame)
	buf := make([]byte, blockSize)
	return func() error {
		h, err := c.in.header()
		if err == nil {
			err = c.in.frame(h)
		}
		if err == nil {
			_, err = io.ReadFull(s, buf)
		}
		if err == nil && len(c.out.control) > maxControl/2 {
			err = c.out.flush(nil)
		}
		return err
	}
}

func BenchmarkUpload(b *testing.B)   { bench(b, maxPayload, upload()) }
func BenchmarkDownload(b *testing.B) { bench(b, blockSize, download()) }

func bench(b *testing.B, size int64, step func() error) {
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if err := step(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for name, step := range map[string]func() error{"upload": upload(), "download": download()} {
		n := testing.AllocsPerRun(3000, func() {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations per frame, want 0", name, n)
		}
	}
}
