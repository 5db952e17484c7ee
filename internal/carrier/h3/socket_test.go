package h3

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestPassingErrors(t *testing.T) {
	tests := []struct {
		err  error
		want bool
	}{
		{syscall.ENETUNREACH, true},
		{syscall.ENETDOWN, true},
		{syscall.EPERM, true},
		{syscall.ECONNREFUSED, true},
		{syscall.EMSGSIZE, false},
		{syscall.EIO, false},
		{net.ErrClosed, false}, // quic-go acts on these
	}
	for _, tt := range tests {
		err := &net.OpError{Op: "write", Err: os.NewSyscallError("sendmsg", tt.err)}
		if got := isPassing(err); got != tt.want {
			t.Errorf("isPassing(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

// An IPv6 address cannot be reached from an IPv4 socket: the one error that loopback has to offer.
func TestErrorsCountUntilTheConnectionIsThere(t *testing.T) {
	s, err := listen(t.Context(), new(network), loopback4, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nowhere := &net.UDPAddr{IP: net.IPv4(240, 0, 0, 1), Port: 9} // reserved: no route, or no permission
	_, _, err = s.WriteMsgUDP([]byte("x"), nil, nowhere)
	if err == nil || !isPassing(err) {
		t.Skipf("this network answers %v", err)
	}
	s.settled.Store(new(backlog))
	if n, _, err := s.WriteMsgUDP([]byte("x"), nil, nowhere); n != 1 || err != nil {
		t.Errorf("write without a network = %d, %v, want 1, nil", n, err)
	}
	if _, _, err := s.WriteMsgUDP(make([]byte, 1<<17), nil, nowhere); err == nil {
		t.Error("write of a packet that is too large = nil, want an error")
	}
}

// stranger opens sockets that are no UDP sockets.
type stranger struct {
	network
	conn net.PacketConn
}

func (s *stranger) ListenPacket(context.Context, string) (net.PacketConn, error) { return s.conn, nil }

type packets struct {
	net.PacketConn
	closed bool
}

func (p *packets) Close() error {
	p.closed = true
	return nil
}

func TestSocketMustBeUDP(t *testing.T) {
	p := new(packets)
	if _, err := listen(t.Context(), &stranger{conn: p}, loopback6, nil); err == nil || !p.closed {
		t.Errorf("listen = %v, closed = %v, want an error and true", err, p.closed)
	}
}

func TestSmallBuffersAreReportedOnce(t *testing.T) {
	s, err := listen(t.Context(), new(network), loopback4, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	want := 1
	if smallBuffers(s.UDPConn) == "" {
		want = 0 // not this system
	}
	log, once := new(lockedBuffer), new(sync.Once)
	logger := slog.New(slog.NewTextHandler(log, nil))
	for i := range 2 {
		d := NewDialer(newServer(t).url(), Config{
			Net: new(network), TLS: newServer(t).tls, Options: Options{Logger: logger, Buffers: once},
		})
		for range 2 {
			d.opened(&link{socket: s})
		}
		if got := strings.Count(log.String(), "net.core.rmem_max="); got != want {
			t.Errorf("warnings after dialer %d = %d, want %d:\n%s", i, got, want, log)
		}
	}
}

func ExampleConnError() {
	err := &ConnError{ErrSilent}
	fmt.Println(err)
	// Output: QUIC connection lost: HTTP/3 server fell silent
}
