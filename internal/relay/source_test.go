package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// waiting is a pipe with a WaitReader. It notes a Read that was not announced by WaitRead.
type waiting struct {
	*transporttest.PipeConn
	announced bool
	hasty     bool
	first     []byte // read by WaitRead, at most one byte
}

func (w *waiting) WaitRead() error {
	if len(w.first) == 0 {
		w.first = make([]byte, 1)
		if _, err := w.PipeConn.Read(w.first); err != nil {
			w.first = nil
			return err
		}
	}
	w.announced = true
	return nil
}

func (w *waiting) Read(p []byte) (int, error) {
	w.hasty = w.hasty || !w.announced
	w.announced = false
	n := copy(p, w.first)
	w.first = nil
	return n, nil
}

func TestSourceWaitsWithoutABuffer(t *testing.T) {
	app, pipe := transporttest.Pipe()
	client := &waiting{PipeConn: pipe}
	target, far := transporttest.Pipe()
	c := &conversation{app: app, far: far}
	c.start(t.Context(), client, target, Limits{})
	sendHalf(t, app, far, payload(1000))
	sendHalf(t, far, app, nil)
	if got, want := c.wait(t), (Result{Sent: 1000}); got != want {
		t.Errorf("Streams = %+v, want %+v", got, want)
	}
	if client.hasty {
		t.Error("Read was called without WaitRead before")
	}
}

func TestSourceWaitReadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, pipe := transporttest.Pipe()
		target, far := transporttest.Pipe()
		c := &conversation{app: app, far: far}
		c.start(t.Context(), &waiting{PipeConn: pipe}, target, Limits{})
		_ = app.Abort()
		if r := c.wait(t); !isReset(r.Err) {
			t.Errorf("Streams = %+v, want a reset", r)
		}
		wantReset(t, "target", far)
	})
}

func TestNewSource(t *testing.T) {
	a, _ := transporttest.TCPPair(t)
	pipe, _ := transporttest.Pipe()
	if _, ok := newSource(&waiting{PipeConn: pipe}).(*waitSource); !ok {
		t.Error("a WaitReader is not read as one")
	}
	if _, ok := newSource(pipe).(plainSource); !ok {
		t.Error("what is neither a WaitReader nor a socket is not read plainly")
	}
	if newSocketSource(a) != nil { // nil where the system has no way to wait
		if _, ok := newSource(a).(plainSource); ok {
			t.Error("a TCP socket is read plainly")
		}
	}
}

// script is a reader with prepared results.
type script struct {
	net.Conn
	results []read
}

func (s *script) Read(p []byte) (int, error) {
	r := s.results[0]
	s.results = s.results[1:]
	return copy(p, r.data), r.err
}

// Bytes that come with an error are not lost, and the error follows.
func TestPlainSource(t *testing.T) {
	room := transport.Headroom{Front: 3, Max: 10}
	s := plainSource{&script{results: []read{{[]byte("abc"), io.EOF}, {nil, io.EOF}, {nil, nil}}}}
	buf, n, err := s.next(room)
	if err != nil || string(buf[3:3+n]) != "abc" {
		t.Fatalf("next() = %d, %v, want the 3 bytes behind the headroom", n, err)
	}
	buffers.Put(buf)
	if buf, _, err := s.next(room); buf != nil || err != io.EOF { //nolint:errorlint // must be bare
		t.Errorf("next() = %v, %v, want no buffer and %v", buf != nil, err, io.EOF)
	}
	if buf, _, err := s.next(room); buf != nil || !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("next() = %v, %v, want no buffer and %v", buf != nil, err, io.ErrNoProgress)
	}
}

// inPlace is a target that takes payloads in place.
type inPlace struct {
	brokenReader
	room transport.Headroom

	mu      sync.Mutex
	written []byte
	faults  []string
}

func (w *inPlace) Headroom() transport.Headroom { return w.room }

func (w *inPlace) WriteHeadroom(buf []byte, front, back int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if front < w.room.Front || back < w.room.Back || len(buf)-front-back > w.room.Max {
		w.faults = append(w.faults, "too little room or too much payload")
	}
	w.written = append(w.written, buf[front:len(buf)-back]...)
	for i := range buf {
		buf[i] = 0xEE // allowed: the buffer is ours until we return
	}
	return nil
}

func (w *inPlace) Write([]byte) (int, error) { return 0, errors.New("written with a copy") }

func TestSinkWritesInPlace(t *testing.T) {
	rows := []struct {
		name string
		room transport.Headroom
	}{
		{"nothing but payload", transport.Headroom{Max: 1000}},
		{"shadowsocks over websocket", transport.Headroom{Front: 26, Back: 16, Max: 16342}},
		{"tiny units", transport.Headroom{Front: 1, Back: 1, Max: 7}},
		{"units larger than the buffer", transport.Headroom{Front: 50, Back: 30, Max: 1 << 20}},
	}
	for _, row := range rows {
		for _, over := range pairs {
			t.Run(row.name+" from "+over.name, func(t *testing.T) {
				target := &inPlace{room: row.room}
				target.err = io.EOF
				c := converseWith(t.Context(), t, over.pair, target)
				want := payload(100_000)
				mustWrite(t, c.app, want)
				_ = c.app.CloseWrite()
				if r := c.wait(t); r.Err != nil || r.Sent != int64(len(want)) {
					t.Errorf("Streams = %+v, want Sent %d and no error", r, len(want))
				}
				if !bytes.Equal(target.written, want) {
					t.Errorf("target got %d bytes, want the %d sent", len(target.written), len(want))
				}
				for _, fault := range slices.Compact(target.faults) {
					t.Error(fault)
				}
			})
		}
	}
}

// A layer without any room for a payload is written to as any other.
func TestSinkWithoutRoom(t *testing.T) {
	rooms := []transport.Headroom{{}, {Front: bufferSize, Max: 1}, {Front: bufferSize, Back: 1, Max: 9}}
	for _, room := range rooms {
		if _, got := newSink(&inPlace{room: room}); got != (transport.Headroom{Max: bufferSize}) {
			t.Errorf("newSink with headroom %+v = room %+v, want the whole buffer", room, got)
		}
	}
}
