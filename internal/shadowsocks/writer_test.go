package shadowsocks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

const chacha = "chacha20-ietf-poly1305"

// recorder is a connection that notes every write, on its way to a peer.
type recorder struct {
	*transporttest.PipeConn
	mu    sync.Mutex
	sizes []int
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.sizes = append(r.sizes, len(p))
	r.mu.Unlock()
	return r.PipeConn.Write(p)
}

func (r *recorder) writes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sizes)
}

func newRecordedPair(cipherName string) (*recorder, *peer) {
	a, b := transporttest.Pipe()
	return &recorder{PipeConn: a}, newPeer(b, newPeerKey(cipherName, testSecret))
}

// firstSize is what salt, target and n bytes take.
func firstSize(saltSize, n int) int {
	return saltSize + lengthSize + 1 + 1 + len("example.com") + 2 + n + tagSize
}

// The salt, the target and the first bytes go out together, or their lengths would tell what they are.
func TestFirstMessage(t *testing.T) {
	for _, c := range ciphers {
		t.Run(c.name, func(t *testing.T) {
			conn, p := newRecordedPair(c.name)
			s := dial(t, conn, c.name)
			defer s.Close()
			if _, err := s.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(p, got); err != nil || string(got) != "hello" {
				t.Fatalf("peer reads %q, %v, want hello", got, err)
			}
			if p.target.String() != testTarget {
				t.Errorf("target = %s, want %s", p.target, testTarget)
			}
			if want := []int{firstSize(c.keySize, 5)}; !slices.Equal(conn.writes(), want) {
				t.Errorf("writes of %d bytes, want %d", conn.writes(), want)
			}
			if _, err := s.Write([]byte("again")); err != nil {
				t.Fatal(err)
			}
			if got := conn.writes(); len(got) != 2 || got[1] != lengthSize+5+tagSize {
				t.Errorf("writes of %d bytes, want the second to be one chunk", got)
			}
		})
	}
}

// In protocols in which the server speaks first, the client says nothing.
func TestFirstMessageAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := newRecordedPair(chacha)
		s := dial(t, conn, chacha)
		time.Sleep(firstWait - 1)
		if got := conn.writes(); len(got) != 0 {
			t.Errorf("writes of %d bytes before %v, want none", got, firstWait)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got, want := conn.writes(), []int{firstSize(32, 0)}; !slices.Equal(got, want) {
			t.Errorf("writes of %d bytes after %v, want %d", got, firstWait, want)
		}
		if _, err := s.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		_, err := io.ReadFull(p, got)
		if err != nil || string(got) != "hello" || p.target.String() != testTarget {
			t.Errorf("peer reads %q for %s, %v, want hello for %s", got, p.target, err, testTarget)
		}
		_ = s.Close()
		time.Sleep(time.Hour)
		if got := conn.writes(); len(got) != 2 {
			t.Errorf("%d writes in all, want 2", len(got))
		}
	})
}

func TestNothingIsSentAfterClose(t *testing.T) {
	for name, end := range map[string]func(s *stream) error{
		"Close": (*stream).Close,
		"Abort": (*stream).Abort,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, _ := newRecordedPair(chacha)
				s := dial(t, conn, chacha)
				if err := end(s); err != nil {
					t.Errorf("%s() = %v, want nil", name, err)
				}
				time.Sleep(time.Hour)
				if got := conn.writes(); len(got) != 0 {
					t.Errorf("writes of %d bytes after %s, want none", got, name)
				}
				if _, err := s.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write after %s = %v, want %v", name, err, net.ErrClosed)
				}
			})
		})
	}
}

// Even a client that ends without a byte has told its target.
func TestCloseWriteBeforeAnyByte(t *testing.T) {
	conn, p := newRecordedPair(chacha)
	s := dial(t, conn, chacha)
	defer s.Close()
	for range 2 {
		if err := s.CloseWrite(); err != nil {
			t.Errorf("CloseWrite() = %v, want nil", err)
		}
	}
	if got, err := io.ReadAll(p); len(got) != 0 || err != nil || p.target.String() != testTarget {
		t.Errorf("peer reads %q for %s, %v, want nothing for %s", got, p.target, err, testTarget)
	}
	if _, err := s.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after CloseWrite = %v, want %v", err, net.ErrClosed)
	}
}

func TestWriteSizes(t *testing.T) {
	room := transport.RecordSize - lengthSize - tagSize
	for _, first := range []int{0, 1, room, 100_000} {
		conn, p := newRecordedPair(chacha)
		s := dial(t, conn, chacha)
		go func() {
			for _, n := range []int{first, 0, 1, room, room + 1, 3*room + 7} {
				_, _ = s.Write(bytes.Repeat([]byte{'x'}, n))
			}
			_ = s.CloseWrite()
		}()
		got, err := io.ReadAll(p)
		if want := first + 1 + room + room + 1 + 3*room + 7; len(got) != want || err != nil {
			t.Errorf("peer reads %d bytes, %v, want %d", len(got), err, want)
		}
		if strings.Trim(string(got), "x") != "" {
			t.Error("peer reads other bytes than were written")
		}
		if largest := slices.Max(conn.writes()); largest != transport.RecordSize {
			t.Errorf("largest write = %d bytes, want a full record", largest)
		}
		_ = s.Close()
	}
}

// Over a WebSocket on a plain carrier, the largest chunk makes one record and one write.
func TestInPlaceFillsOneRecord(t *testing.T) {
	conn, _ := newRecordedPair(chacha)
	s := dial(t, websocket.NewStream(conn, websocket.Options{PingAfter: -1}), chacha)
	defer s.Close()
	if _, err := s.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	room := s.Headroom()
	if want := (transport.Headroom{Front: 8 + lengthSize, Back: tagSize, Max: 16342}); room != want {
		t.Fatalf("Headroom() = %+v, want %+v", room, want)
	}
	buf := make([]byte, room.Front+room.Max+room.Back)
	before := len(conn.writes())
	if err := s.WriteHeadroom(buf, room.Front, room.Back); err != nil {
		t.Fatal(err)
	}
	if got, want := conn.writes()[before:], []int{transport.RecordSize}; !slices.Equal(got, want) {
		t.Errorf("a full payload makes writes of %d bytes, want %d", got, want)
	}
}

func TestWriteHeadroomTooLong(t *testing.T) {
	conn, _ := newRecordedPair(chacha)
	s := dial(t, conn, chacha)
	defer s.Close()
	room := s.Headroom()
	buf := make([]byte, room.Front+maxChunk+1+room.Back)
	if err := s.WriteHeadroom(buf, room.Front, room.Back); err == nil {
		t.Errorf("WriteHeadroom of %d bytes = nil, want an error", maxChunk+1)
	}
	if got := conn.writes(); len(got) != 0 {
		t.Errorf("writes of %d bytes, want none", got)
	}
}

func TestPrefix(t *testing.T) {
	conn, p := newRecordedPair(chacha)
	prefix := []byte("\x16\x03\x01\x00\xa8\x01\x01")
	d := &StreamDialer{Endpoint: endpoint{conn}, Key: newTestKey(t, chacha), Prefix: prefix}
	s, err := d.DialStream(t.Context(), testTarget)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, _ = s.Write([]byte("x"))
	if _, err := io.ReadFull(p, make([]byte, 1)); err != nil || !bytes.HasPrefix(p.salt, prefix) {
		t.Errorf("peer has salt %x, %v, want one that starts with %x", p.salt, err, prefix)
	}
	d.Prefix = make([]byte, 30)
	if _, err := d.DialStream(t.Context(), testTarget); err == nil {
		t.Error("DialStream() with a prefix of 30 bytes = nil, want an error")
	}
}

// failing is an endpoint that cannot be reached.
type failing struct{ err error }

func (f failing) ConnectStream(context.Context) (transport.StreamConn, error) { return nil, f.err }
func (f failing) ConnectPacket(context.Context) (net.Conn, error)             { return nil, f.err }

func TestDialFails(t *testing.T) {
	broken := errors.New("broken")
	d := &StreamDialer{Endpoint: failing{broken}, Key: newTestKey(t, chacha)}
	if _, err := d.DialStream(t.Context(), testTarget); !errors.Is(err, broken) {
		t.Errorf("DialStream() = %v, want %v", err, broken)
	}
	for _, target := range []string{"", "example.com", "example.com:http", strings.Repeat("a", 256) + ":1"} {
		if _, err := d.DialStream(t.Context(), target); err == nil || errors.Is(err, broken) {
			t.Errorf("DialStream(%.20q) = %v, want an error before anything is opened", target, err)
		}
	}
}

// The first message may meet a broken connection while nobody is writing. The next write says so.
func TestFlushFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, p := newRecordedPair(chacha)
		s := dial(t, conn, chacha)
		defer s.Close()
		_ = p.Abort()
		time.Sleep(firstWait)
		synctest.Wait()
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("write after the first message failed = nil, want an error")
		}
		if err := s.CloseWrite(); err == nil {
			t.Error("CloseWrite() after the first message failed = nil, want an error")
		}
	})
}
