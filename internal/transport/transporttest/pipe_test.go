package transporttest

import (
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestPipeConforms(t *testing.T) {
	Conformance(t, func(*testing.T) (transport.StreamConn, transport.StreamConn) {
		a, b := Pipe()
		return a, b
	})
}

func TestPipeTimesOutInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := Pipe()
		began := time.Now()
		_ = a.SetDeadline(began.Add(time.Hour))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read = %v, want %v", err, os.ErrDeadlineExceeded)
		}
		if took := time.Since(began); took != time.Hour {
			t.Errorf("read took %v, want %v", took, time.Hour)
		}
	})
}

func TestPipeHoldsABound(t *testing.T) {
	a, b := Pipe()
	_ = a.SetWriteDeadline(time.Now().Add(soon))
	n, err := a.Write(make([]byte, big))
	if n != halfSize || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write to a full pipe = %d, %v, want %d, %v", n, err, halfSize, os.ErrDeadlineExceeded)
	}
	if n, err := io.ReadFull(b, make([]byte, halfSize)); err != nil {
		t.Errorf("read = %d, %v, want %d, nil", n, err, halfSize)
	}
}

func TestPipeErrorsAreThoseOfTCP(t *testing.T) {
	tests := []struct {
		name        string
		end         func(b *PipeConn) error
		read, write error // at a
	}{
		{"close", (*PipeConn).Close, io.EOF, syscall.EPIPE},
		{"abort", (*PipeConn).Abort, syscall.ECONNRESET, syscall.ECONNRESET},
		{"close write", (*PipeConn).CloseWrite, io.EOF, nil},
		{"close read", (*PipeConn).CloseRead, os.ErrDeadlineExceeded, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := Pipe()
			_ = a.SetReadDeadline(time.Now().Add(soon))
			if err := tt.end(b); err != nil {
				t.Fatalf("end = %v, want nil", err)
			}
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, tt.read) {
				t.Errorf("read = %v, want %v", err, tt.read)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, tt.write) {
				t.Errorf("write = %v, want %v", err, tt.write)
			}
		})
	}
}
