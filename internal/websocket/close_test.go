package websocket

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestParseClose(t *testing.T) {
	tests := []struct {
		name    string
		payload string
		want    error // nil: a *CloseError
	}{
		{"no code", "", io.EOF},
		{"normal", closing(1000, ""), io.EOF},
		{"normal with a reason", closing(1000, "bye"), io.EOF},
		{"going away", closing(1001, ""), io.EOF},
		{"protocol error", closing(1002, ""), nil},
		{"unsupported data", closing(1003, ""), nil},
		{"bad data", closing(1007, ""), nil},
		{"too big", closing(1009, ""), nil},
		{"internal error", closing(1011, "panic"), nil},
		{"restart", closing(1012, ""), nil},
		{"bad gateway", closing(1014, ""), nil},
		{"library's", closing(3000, ""), nil},
		{"application's", closing(4999, strings.Repeat("ä", 61)), nil},
		{"half a code", "\x03", ErrProtocol},
		{"zero", closing(0, ""), ErrProtocol},
		{"below the range", closing(999, ""), ErrProtocol},
		{"reserved", closing(1004, ""), ErrProtocol},
		{"no status, on the wire", closing(1005, ""), ErrProtocol},
		{"abnormal, on the wire", closing(1006, ""), ErrProtocol},
		{"TLS failure, on the wire", closing(1015, ""), ErrProtocol},
		{"unassigned", closing(2999, ""), ErrProtocol},
		{"above the range", closing(5000, ""), ErrProtocol},
		{"largest", closing(65535, ""), ErrProtocol},
		{"reason is not UTF-8", closing(1000, "\xff"), ErrProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := parseClose([]byte(tt.payload))
			got, ok := errors.AsType[*CloseError](err)
			if tt.want == nil && (!ok || closing(got.Code, got.Reason) != tt.payload) {
				t.Errorf("parseClose(%q) = %v, want the same as a *CloseError", tt.payload, err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("parseClose(%q) = %v, want %v", tt.payload, err, tt.want)
			}
		})
	}
}

func TestCloseErrorText(t *testing.T) {
	for want, err := range map[string]error{
		"websocket closed by the peer with code 3000":                   &CloseError{Code: 3000},
		`websocket closed by the peer with code 3000: "\n"`:             &CloseError{3000, "\n"},
		"carrier ended without a close frame: unexpected EOF":           ErrNoClose,
		"websocket protocol error: close code 5":                        protocolError("close code %d", 5),
		"write after the close frame: use of closed network connection": errWriteClosed,
	} {
		if err.Error() != want {
			t.Errorf("text = %q, want %q", err, want)
		}
	}
}

// frames reads the client's frames until the end of the carrier.
func (p *peer) frames(t *testing.T) (all []ws.Frame) {
	t.Helper()
	for {
		f, err := p.frame()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
}

// wantOneClose demands that the client sent exactly one Close frame, with 1000, and nothing after it.
func wantOneClose(t *testing.T, all []ws.Frame) {
	t.Helper()
	closings := 0
	for _, f := range all {
		if f.Header.OpCode == ws.OpClose {
			closings++
		}
	}
	if closings != 1 {
		t.Fatalf("client sent %d close frames among %d frames, want 1", closings, len(all))
	}
	last := all[len(all)-1]
	if last.Header.OpCode != ws.OpClose || string(last.Payload) != closing(1000, "") {
		t.Errorf("client's last frame = %v with %x, want a close frame with 1000", last.Header, last.Payload)
	}
}

func TestOneCloseFrame(t *testing.T) {
	const (
		write      = "Write"
		closeWrite = "CloseWrite"
		closeAll   = "Close"
	)
	calls := map[string]func(s *Stream){
		write:      func(s *Stream) { _, _ = s.Write([]byte("x")) },
		closeWrite: func(s *Stream) { _ = s.CloseWrite() },
		closeAll:   func(s *Stream) { _ = s.Close() },
	}
	tests := [][]string{
		{closeAll},
		{closeAll, closeAll},
		{closeWrite, closeAll},
		{closeWrite, closeWrite, closeAll},
		{write, closeWrite, closeAll},
		{closeWrite, write, closeAll},
		{closeAll, closeWrite, write, closeAll},
	}
	for mode, halfClose := range map[string]HalfClose{"at once": CloseFrame, "deferred": Defer} {
		for _, names := range tests {
			t.Run(strings.Join(names, ", ")+"/"+mode, func(t *testing.T) {
				carrier, p := newPair()
				s := NewStream(carrier, Options{HalfClose: halfClose})
				for _, name := range names {
					calls[name](s)
				}
				wantOneClose(t, p.frames(t))
			})
		}
	}
}

func TestAbortSendsNoCloseFrame(t *testing.T) {
	carrier, p := newPair()
	s := NewStream(carrier, Options{})
	if err := s.Abort(); err != nil {
		t.Errorf("Abort() = %v, want nil", err)
	}
	if f, err := p.frame(); err == nil {
		t.Errorf("peer reads %v after an abort, want an error", f.Header)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close() after Abort = %v, want nil", err)
	}
}

// The peer's Close frame is not echoed: the target may still take what we send.
func TestPeerClosesFirst(t *testing.T) {
	carrier, p := newPair()
	s := NewStream(carrier, Options{})
	_ = p.CloseWrite()
	if n, err := s.Read(make([]byte, 1)); n != 0 || !isEOF(err) {
		t.Errorf("read = %d, %v, want 0, EOF", n, err)
	}
	if _, err := s.Write([]byte("upload")); err != nil {
		t.Errorf("write after the peer's close = %v, want nil", err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Errorf("CloseWrite() = %v, want nil", err)
	}
	_ = s.Close()
	all := p.frames(t)
	wantOneClose(t, all)
	if len(all) != 2 || string(all[0].Payload) != "upload" {
		t.Errorf("client sent %d frames, want the upload and a close frame", len(all))
	}
}

// A deferred Close frame waits for the peer's end, and then goes out whatever else is written at that moment.
func TestDeferredClose(t *testing.T) {
	carrier, p := newPair()
	s := NewStream(carrier, Options{HalfClose: Defer})
	if _, err := s.Write([]byte("request")); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after CloseWrite = %v, want %v", err, net.ErrClosed)
	}
	if f, err := p.frame(); err != nil || string(f.Payload) != "request" {
		t.Fatalf("peer reads %q, %v, want the request", f.Payload, err)
	}
	_ = p.SetReadDeadline(time.Unix(1, 0))
	if f, err := p.frame(); err == nil {
		t.Errorf("peer reads %v before its own close, want nothing", f.Header)
	}
	_ = p.SetReadDeadline(time.Time{})
	if _, err := p.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	_ = p.CloseWrite()
	if got, err := io.ReadAll(s); string(got) != "answer" || err != nil {
		t.Errorf("read = %q, %v, want the answer", got, err)
	}
	s.out.mu.Lock() // as a pong in progress holds it
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for !s.isClosing() {
		runtime.Gosched()
	}
	s.out.mu.Unlock()
	if err := <-closed; err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
	wantOneClose(t, p.frames(t))
}

func (s *Stream) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// CloseWrite must not report success when the Close frame cannot go out.
func TestCloseWriteReportsFailure(t *testing.T) {
	carrier, p := newPair()
	s := NewStream(carrier, Options{})
	defer s.Close()
	_ = transport.Abort(p.StreamConn)
	if _, err := s.Write([]byte("x")); err == nil {
		t.Fatal("write to a reset carrier = nil, want an error")
	}
	if err := s.CloseWrite(); err == nil {
		t.Error("CloseWrite() on a reset carrier = nil, want an error")
	}
}

func TestPeerGone(t *testing.T) {
	const within = 20 * time.Millisecond
	tests := []struct {
		name string
		then func(p *peer)
		want bool
	}{
		{"it ended its half only", func(*peer) {}, false},
		{"it closed the carrier too", func(p *peer) { _ = p.Close() }, true},
		{"it reset the carrier", func(p *peer) { _ = p.Abort() }, true},
		{"it talks on, against the rules", func(p *peer) {
			_, _ = p.StreamConn.Write(make([]byte, 4*maxControl))
		}, false},
		{"it talks on and leaves", func(p *peer) {
			_, _ = p.StreamConn.Write(make([]byte, 4*maxControl))
			_ = p.Close()
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			carrier, p := newPair()
			s := NewStream(carrier, Options{})
			defer s.Close()
			_ = p.CloseWrite()
			if _, err := s.Read(make([]byte, 1)); !isEOF(err) {
				t.Fatalf("read = %v, want EOF", err)
			}
			tt.then(p)
			if got := s.PeerGone(within); got != tt.want {
				t.Errorf("PeerGone(%s) = %v, want %v", within, got, tt.want)
			}
			if _, err := s.Read(make([]byte, 1)); !isEOF(err) {
				t.Errorf("read again = %v, want EOF", err)
			}
		})
	}
}
