package transport_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

var errAbort = errors.New("abort called")

// aborter embeds a nil net.Conn: a call of Close would panic.
type aborter struct{ net.Conn }

func (aborter) Abort() error { return errAbort }

func TestAbortPrefersTheConnectionsOwn(t *testing.T) {
	if err := transport.Abort(aborter{}); !errors.Is(err, errAbort) {
		t.Errorf("Abort(aborter) = %v, want %v", err, errAbort)
	}
}

func TestAbortResetsTCP(t *testing.T) {
	a, b := transporttest.TCPPair(t)
	if err := transport.Abort(a); err != nil {
		t.Fatalf("Abort(TCP) = %v, want nil", err)
	}
	if _, err := io.ReadAll(b); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read behind an aborted TCP connection = %v, want %v", err, syscall.ECONNRESET)
	}
	if err := transport.Abort(a); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Abort(TCP) = %v, want %v", err, net.ErrClosed)
	}
}

func TestAbortClosesWhatCannotReset(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	if err := transport.Abort(a); err != nil {
		t.Fatalf("Abort(pipe) = %v, want nil", err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write after Abort(pipe) = %v, want %v", err, io.ErrClosedPipe)
	}
}

// A TCP connection is the stream that every other one is measured by.
var _ transport.StreamConn = (*net.TCPConn)(nil)
