package shadowsocks

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// scripted is a connection that reads from a script; what is written to it goes nowhere.
type scripted struct {
	*transporttest.PipeConn
	script io.Reader
}

func (s *scripted) Read(p []byte) (int, error) { return s.script.Read(p) }

// dialScript opens a stream whose server says what script holds.
func dialScript(t testing.TB, script io.Reader, cipherName string) *stream {
	t.Helper()
	a, b := transporttest.Pipe()
	_ = b.CloseRead()
	s := dial(t, &scripted{a, script}, cipherName)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// stutter delivers a few bytes a call, with a deadline that passes before each.
type stutter struct {
	src    io.Reader
	size   int
	passed bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.passed = !s.passed; s.passed {
		return 0, os.ErrDeadlineExceeded
	}
	return s.src.Read(p[:min(s.size, len(p))])
}

// readAll reads into buffers of that size until the end, and on after deadlines.
func readAll(s *stream, size int) (got []byte, err error) {
	for buf := make([]byte, size); ; {
		n, err := s.Read(buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if isEOF(err) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

// isEOF reports whether err is the bare io.EOF, as readers have to return it.
func isEOF(err error) bool { return err == io.EOF } //nolint:errorlint // a wrapped one is no clean end

func TestReadSizes(t *testing.T) {
	payloads := []string{"a", "", "bc", strings.Repeat("d", 100), strings.Repeat("e", maxChunk), "", "f"}
	want := strings.Join(payloads, "")
	for _, c := range ciphers {
		wire := newPeerKey(c.name, testSecret).answer(payloads...)
		for _, size := range []int{1, 7, 100, 100 + tagSize, maxChunk, maxChunk + tagSize, 64 << 10} {
			for how, script := range map[string]io.Reader{
				"in one piece":  bytes.NewReader(wire),
				"byte by byte":  iotest.OneByteReader(bytes.NewReader(wire)),
				"with timeouts": &stutter{src: bytes.NewReader(wire), size: 5},
				"end with data": iotest.DataErrReader(bytes.NewReader(wire)),
			} {
				got, err := readAll(dialScript(t, script, c.name), size)
				if string(got) != want || err != nil {
					t.Errorf("%s %s into %d bytes: read %d bytes, %v, want %d and EOF",
						c, how, size, len(got), err, len(want))
				}
			}
		}
	}
}

// A cut is an error wherever it comes, but between chunks.
func TestReadCutAnywhere(t *testing.T) {
	key := newPeerKey(chacha, testSecret)
	wire := key.answer("hello", "world")
	chunk := lengthSize + len("hello") + tagSize
	for n := range len(wire) + 1 {
		got, err := readAll(dialScript(t, bytes.NewReader(wire[:n]), chacha), 100)
		chunks := max(0, n-key.size) / chunk
		if want := "helloworld"[:5*chunks]; string(got) != want {
			t.Errorf("cut after %d bytes: read %q, want %q", n, got, want)
		}
		clean := n == 0 || n >= key.size && (n-key.size)%chunk == 0
		if clean && err != nil || !clean && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: ends with %v, want clean = %v", n, err, clean)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	key := newPeerKey(chacha, testSecret)
	damaged := key.answer("hello")
	damaged[len(damaged)-1] ^= 1
	forged := make([]byte, key.size) // a zero salt
	long := &peerDirection{aead: key.aead(forged)}
	forged = append(forged, long.chunk(maxChunk+1, make([]byte, maxChunk+1))...)
	tests := []struct {
		name string
		wire []byte
		want error // nil: any
	}{
		{"another secret", newPeerKey(chacha, "another").answer("hello"), ErrAuth},
		{"another cipher", newPeerKey("aes-256-gcm", testSecret).answer("hello"), ErrAuth},
		{"damaged payload", damaged, ErrAuth},
		{"no Shadowsocks", []byte(strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 10)), ErrAuth},
		{"chunk that is too long", forged, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := dialScript(t, bytes.NewReader(tt.wire), chacha)
			got, err := readAll(s, 100)
			if len(got) > 0 || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("read %q, %v, want nothing and %v", got, err, tt.want)
			}
			if _, again := s.Read(make([]byte, 1)); !errors.Is(again, err) {
				t.Errorf("read again = %v, want %v", again, err)
			}
			if again := s.WaitRead(); !errors.Is(again, err) {
				t.Errorf("WaitRead() = %v, want %v", again, err)
			}
		})
	}
}

// WaitRead reads no payload, and comes back after a deadline.
func TestWaitRead(t *testing.T) {
	wire := newPeerKey(chacha, testSecret).answer("hello")
	s := dialScript(t, &stutter{src: bytes.NewReader(wire), size: 3}, chacha)
	deadlines := 0
	for err := s.WaitRead(); err != nil; err = s.WaitRead() {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		deadlines++
	}
	if want := (32+2)/3 + lengthSize/3; deadlines < want {
		t.Errorf("WaitRead() met %d deadlines, want %d", deadlines, want)
	}
	if s.in.own != nil || s.in.ownLen != 0 {
		t.Error("WaitRead() holds a buffer, want none")
	}
	if got, err := readAll(s, 100); string(got) != "hello" || err != nil {
		t.Errorf("read = %q, %v, want hello", got, err)
	}
	if err := s.WaitRead(); !isEOF(err) {
		t.Errorf("WaitRead() at the end = %v, want EOF", err)
	}
}

// A payload is opened where the caller wants it, if there is room for its tag.
func TestReadInPlace(t *testing.T) {
	wire := newPeerKey(chacha, testSecret).answer(strings.Repeat("x", 1000), "y")
	s := dialScript(t, bytes.NewReader(wire), chacha)
	n, err := s.Read(make([]byte, 1000+tagSize))
	if n != 1000 || err != nil || s.in.own != nil {
		t.Errorf("read = %d, %v with a buffer of ours: %v, want 1000 without", n, err, s.in.own != nil)
	}
	if n, err := s.Read(nil); n != 0 || err != nil {
		t.Errorf("Read(nil) = %d, %v, want 0, nil", n, err)
	}
}

// leaver can tell whether its peer has left.
type leaver struct {
	transport.StreamConn
	gone  bool
	asked []time.Duration
}

func (l *leaver) PeerGone(within time.Duration) bool {
	l.asked = append(l.asked, within)
	return l.gone
}

func TestEndWithoutAnswer(t *testing.T) {
	answer := newPeerKey(chacha, testSecret).answer()
	tests := []struct {
		name     string
		wire     []byte
		gone     bool
		finished bool // our half has ended before
		asked    int
		want     bool // *NoAnswerError instead of EOF
	}{
		{"the server hung up", nil, true, false, 1, true},
		{"the server ended its half", nil, false, false, 1, false},
		{"we had ended ours", nil, true, true, 0, false},
		{"there was an answer", answer, true, false, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := transporttest.Pipe()
			_ = b.CloseRead()
			conn := &leaver{StreamConn: &scripted{a, bytes.NewReader(tt.wire)}, gone: tt.gone}
			s := dial(t, conn, chacha)
			defer s.Close()
			if tt.finished {
				_ = s.CloseWrite()
			}
			for range 2 {
				_, err := s.Read(make([]byte, 1))
				if _, ok := errors.AsType[*NoAnswerError](err); ok != tt.want || !ok && !isEOF(err) {
					t.Errorf("read = %v, want *NoAnswerError: %v", err, tt.want)
				}
			}
			if len(conn.asked) != tt.asked || tt.asked > 0 && conn.asked[0] != leaveTime {
				t.Errorf("asked whether the server left %v, want %d times", conn.asked, tt.asked)
			}
		})
	}
}

// How long the server took tells what went wrong.
func TestNoAnswerErrorHints(t *testing.T) {
	for after, hint := range map[time.Duration]string{
		time.Second:      "the target refused",
		drainTime:        "is the secret right?",
		59 * time.Second: "59s",
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := transporttest.Pipe()
			s := dial(t, &leaver{StreamConn: a, gone: true}, chacha)
			defer s.Close()
			time.AfterFunc(after, func() { _ = b.CloseWrite() })
			_, err := s.Read(make([]byte, 1))
			if err == nil || !strings.Contains(err.Error(), hint) {
				t.Errorf("end after %v = %v, want one that says %q", after, err, hint)
			}
		})
	}
}
