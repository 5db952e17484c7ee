package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	small = 100
	big   = 1 << 20

	// settle is how long the suite waits for a call to block, which no fact announces. When it takes longer,
	// the check tests less and still passes.
	settle = 20 * time.Millisecond
)

// payload returns n bytes that look random and are the same every time.
func payload(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p) // never fails
	return p
}

// send writes all of p in one call.
func send(w io.Writer, p []byte) func() error {
	return func() error {
		n, err := w.Write(p)
		if err != nil {
			return fmt.Errorf("write %d bytes: %w", len(p), err)
		}
		if n != len(p) {
			return fmt.Errorf("write %d bytes: got n = %d without an error", len(p), n)
		}
		return nil
	}
}

// sendAll writes all of p in one call and ends that half.
func sendAll(w transport.StreamConn, p []byte) func() error {
	return func() error {
		if err := send(w, p)(); err != nil {
			return err
		}
		if err := w.CloseWrite(); err != nil {
			return fmt.Errorf("close write: %w", err)
		}
		return nil
	}
}

// expect reads exactly what want holds.
func expect(r io.Reader, want []byte) func() error {
	return func() error {
		got := make([]byte, len(want))
		if n, err := io.ReadFull(r, got); err != nil {
			return fmt.Errorf("read: %w after %d of %d bytes", err, n, len(want))
		}
		return same(got, want)
	}
}

// expectAll reads what want holds, then EOF, which stays.
func expectAll(r io.Reader, want []byte) func() error {
	return func() error {
		got, err := io.ReadAll(io.LimitReader(r, int64(len(want))+1))
		if err != nil {
			return fmt.Errorf("read: %w after %d of %d bytes, want all and EOF", err, len(got), len(want))
		}
		if err := same(got, want); err != nil {
			return err
		}
		n, err := r.Read(make([]byte, 1))
		if n != 0 || err != io.EOF { //nolint:errorlint // an io.Reader returns it bare
			return fmt.Errorf("read after EOF: got %d, %w, want 0, EOF", n, err)
		}
		return nil
	}
}

func same(got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	return fmt.Errorf("got %d bytes, want %d; the first difference is at byte %d", len(got), len(want), at)
}

// carry moves n bytes from w to r.
func (p *pair) carry(w io.Writer, r io.Reader, n int) error {
	want := payload(n)
	return p.together(send(w, want), expect(r, want))
}

// readOne reads into a small buffer and returns the error alone.
func readOne(r io.Reader) func() error {
	return func() error {
		_, err := r.Read(make([]byte, small))
		return err
	}
}

// flood writes until that fails and returns the error. written, if there is one, counts the bytes.
func flood(w io.Writer, written *atomic.Int64) func() error {
	return func() error {
		block := make([]byte, 64<<10)
		for {
			n, err := w.Write(block)
			if written != nil {
				written.Add(int64(n))
			}
			if err != nil {
				return err
			}
			if n != len(block) {
				return fmt.Errorf("write: got n = %d of %d without an error", n, len(block))
			}
		}
	}
}

// untilBlocked waits until written does not grow any more.
func untilBlocked(written *atomic.Int64) {
	ticker := time.NewTicker(settle)
	defer ticker.Stop()
	for last := int64(-1); last != written.Load(); <-ticker.C {
		last = written.Load()
	}
}

// wantTimeout demands the error of a deadline.
func wantTimeout(what string, err error) error {
	netErr, ok := errors.AsType[net.Error](err)
	if !ok || !netErr.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s: got error %w, want os.ErrDeadlineExceeded as a net.Error with Timeout",
			what, orNone(err))
	}
	return nil
}

// wantBroken demands an error that does not look like a clean end.
func wantBroken(what string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: got error %w, want one that is not EOF", what, orNone(err))
	}
	return nil
}

// wantError demands any error.
func wantError(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s: got no error, want one", what)
	}
	return nil
}

var errNone = errors.New("none")

// orNone makes "no error" printable by %w.
func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
