package relay

import (
	"context"
	"encoding/binary"
	"io"
	"runtime/debug"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// track follows one chunk at a time from the source of a relay to its destination.
type track struct {
	step   chan int  // the test asks for a chunk of that size, 0 for the end
	moved  chan move // the destination was given a chunk
	source []byte    // where the source's last chunk was put; the relay's
}

// move is one chunk: where the source put it, and what the destination was given.
type move struct{ source, dest []byte }

func newTrack() *track { return &track{step: make(chan int), moved: make(chan move)} }

func (tr *track) move(n int) move {
	tr.step <- n
	return <-tr.moved
}

// put notes where the source puts a chunk.
func (tr *track) put(p []byte) { tr.source = p }

// tracked is a stream of which one direction is a track and the other is silent until the end.
type tracked struct {
	*transporttest.PipeConn // silent
	from, to                *track
}

func (c tracked) Read(p []byte) (int, error) {
	if c.from == nil {
		return c.PipeConn.Read(p)
	}
	n := <-c.from.step
	if n == 0 {
		return 0, io.EOF
	}
	n = min(n, len(p))
	c.from.put(p[:n])
	return n, nil
}

func (c tracked) Write(p []byte) (int, error) {
	if c.to != nil && len(p) >= shortest {
		c.to.moved <- move{c.to.source, p}
	}
	return len(p), nil
}

// shortest is what tells a chunk from headers and control frames.
const shortest = 100

// endpoint is always the same stream.
type endpoint struct{ transport.StreamConn }

func (e endpoint) ConnectStream(context.Context) (transport.StreamConn, error) {
	return e.StreamConn, nil
}

func newKey(t testing.TB, cipher string) *shadowsocks.Key {
	t.Helper()
	c, err := shadowsocks.ParseCipher(cipher)
	if err != nil {
		t.Fatal(err)
	}
	key, err := shadowsocks.NewKey(c, "secret")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// dialOver opens a Shadowsocks stream over a WebSocket over carrier.
func dialOver(t testing.TB, key *shadowsocks.Key, carrier transport.StreamConn) transport.StreamConn {
	t.Helper()
	quiet := websocket.Options{PingAfter: -1}
	d := &shadowsocks.StreamDialer{
		Key: key, Endpoint: websocket.StreamEndpoint{Carrier: endpoint{carrier}, Options: quiet},
	}
	s, err := d.DialStream(t.Context(), "192.0.2.1:443")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// upload starts a relay from a client, whose chunks the test asks for, through Shadowsocks and WebSocket.
func upload(t *testing.T, cipher string) *track {
	t.Helper()
	tr := newTrack()
	silentClient, clientPeer := transporttest.Pipe()
	silentCarrier, carrierPeer := transporttest.Pipe()
	target := dialOver(t, newKey(t, cipher), tracked{PipeConn: silentCarrier, to: tr})
	c := &conversation{app: clientPeer, far: carrierPeer}
	c.start(t.Context(), tracked{PipeConn: silentClient, from: tr}, target, Limits{})
	t.Cleanup(func() {
		tr.step <- 0
		_ = transport.Abort(carrierPeer)
		c.wait(t)
	})
	return tr
}

// The bytes that the relay read from the client are what goes to the layer below the WebSocket: sealed and
// masked where they stood. All of it is one write of one TLS record.
func TestUploadCopiesOnce(t *testing.T) {
	tr := upload(t, "aes-256-gcm")
	tr.move(1000) // with salt and target in front it cannot stay where it is
	for _, n := range []int{200, 5000, 1 << 20} {
		got := tr.move(n)
		at := indexOf(got.dest, &got.source[0])
		if at < 0 || len(got.dest)-at != len(got.source)+16 {
			t.Errorf("chunk of %d bytes: starts at %d of the %d that the carrier was given, want it in place",
				n, at, len(got.dest))
		}
		if n > transport.RecordSize && len(got.dest) != transport.RecordSize {
			t.Errorf("a full chunk is %d bytes for the carrier, want %d", len(got.dest), transport.RecordSize)
		}
	}
}

// indexOf returns which element of b p points to, or -1.
func indexOf(b []byte, p *byte) int {
	for i := range b {
		if &b[i] == p {
			return i
		}
	}
	return -1
}

// framed is the server's side of a WebSocket that sends messages only.
type framed struct {
	*transporttest.PipeConn
	wire []byte
}

// Write appends a message with a header of four bytes.
func (f *framed) Write(p []byte) (int, error) {
	f.wire = append(f.wire, 0x82, 126)
	f.wire = binary.BigEndian.AppendUint16(f.wire, uint16(len(p)))
	f.wire = append(f.wire, p...)
	return len(p), nil
}

// answer returns what a server sends: count chunks of size bytes, in messages. Both directions of
// Shadowsocks look alike, but for the address that a client puts in front; here it is the first payload.
func answer(t testing.TB, key *shadowsocks.Key, count, size int) []byte {
	t.Helper()
	pipe, _ := transporttest.Pipe()
	f := &framed{PipeConn: pipe}
	d := &shadowsocks.StreamDialer{Key: key, Endpoint: endpoint{f}}
	s, err := d.DialStream(t.Context(), "192.0.2.1:443")
	if err != nil {
		t.Fatal(err)
	}
	for range count {
		mustWrite(t, s, make([]byte, size))
	}
	_ = s.Close()
	return f.wire
}

// replay is a carrier that serves prepared bytes.
type replay struct {
	*transporttest.PipeConn
	wire []byte
	to   *track
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.wire) == 0 {
		return r.PipeConn.Read(p)
	}
	n := copy(p, r.wire)
	r.wire = r.wire[n:]
	if n >= shortest {
		r.to.put(p[:n])
	}
	return n, nil
}

// download starts a relay whose client takes one chunk each time the test asks.
func download(t *testing.T, cipher string, count, size int) *track {
	t.Helper()
	key := newKey(t, cipher)
	tr := newTrack()
	silentClient, clientPeer := transporttest.Pipe()
	silentCarrier, carrierPeer := transporttest.Pipe()
	carrier := &replay{PipeConn: silentCarrier, wire: answer(t, key, count, size), to: tr}
	c := &conversation{app: clientPeer, far: carrierPeer}
	c.start(t.Context(), tracked{PipeConn: silentClient, to: tr}, dialOver(t, key, carrier), Limits{})
	t.Cleanup(func() {
		_, _ = transport.Abort(clientPeer), transport.Abort(carrierPeer)
		for {
			select {
			case <-tr.moved:
			case r := <-c.result:
				c.result <- r
				return
			case <-time.After(patience):
				t.Fatal("Streams did not return")
			}
		}
	})
	return tr
}

// What the carrier put into the relay's buffer is opened there and goes to the client from there.
func TestDownloadCopiesOnce(t *testing.T) {
	tr := download(t, "aes-256-gcm", 2, 16000)
	<-tr.moved
	got := <-tr.moved
	if at := indexOf(got.source, &got.dest[0]); at != 0 {
		t.Errorf("the client's bytes start at %d of what the carrier put into the relay's buffer, want 0", at)
	}
}

// underRace reports whether pools drop at random, which the race detector makes them do.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return true
		}
	}
	return false
}

func TestChunksAllocateNothing(t *testing.T) {
	if underRace() {
		t.Skip("under the race detector sync.Pool drops at random")
	}
	const runs = 1000
	for _, cipher := range []string{"chacha20-ietf-poly1305", "aes-256-gcm", "aes-192-gcm", "aes-128-gcm"} {
		t.Run("upload "+cipher, func(t *testing.T) {
			tr := upload(t, cipher)
			tr.move(1000)
			if got := testing.AllocsPerRun(runs, func() { tr.move(16384) }); got != 0 {
				t.Errorf("%v allocations for each chunk, want 0", got)
			}
		})
		t.Run("download "+cipher, func(t *testing.T) {
			tr := download(t, cipher, runs+10, 1000)
			<-tr.moved
			if got := testing.AllocsPerRun(runs, func() { <-tr.moved }); got != 0 {
				t.Errorf("%v allocations for each chunk, want 0", got)
			}
		})
	}
}
