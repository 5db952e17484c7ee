//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 5 * time.Second // of whoever asks

// question is one to a target that answers with the address that it sees.
type question struct {
	proto, target string
	from          string // the source address
	device        string // SO_BINDTODEVICE
}

// The answers. Anything else is an error.
const (
	tunnel  = "by tunnel"
	direct  = "directly" // past the tunnel
	refused = "refused"  // as a closed port is, or by who reads the device
	blocked = "blocked"  // by a rule, or a route
	silence = "silence"
)

// answer asks.
func (q question) answer(ctx context.Context, wait time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return q.bind(raw) }}
	if q.from != "" {
		d.LocalAddr = q.local()
	}
	conn, err := d.DialContext(ctx, q.proto, q.target)
	if err != nil {
		return verdict(err)
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write([]byte(who)); err != nil {
		return verdict(err)
	}
	buf := make([]byte, 128)
	n, err := conn.Read(buf)
	if err != nil {
		return verdict(err)
	}
	return seen(string(buf[:n]))
}

// seen says which way led to a target that saw such a client.
func seen(addr string) string {
	host, _, err := net.SplitHostPort(strings.TrimSpace(addr))
	switch {
	case err != nil:
		return "not an address: " + addr
	case host == hostLAN || host == host6:
		return direct
	}
	return tunnel
}

func (q question) local() net.Addr {
	if q.proto == "udp" {
		return &net.UDPAddr{IP: net.ParseIP(q.from)}
	}
	return &net.TCPAddr{IP: net.ParseIP(q.from)}
}

func (q question) bind(raw syscall.RawConn) (err error) {
	if q.device == "" {
		return nil
	}
	ctl := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), q.device) })
	return errors.Join(ctl, err)
}

func verdict(err error) string {
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return refused
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES),
		errors.Is(err, unix.ENETUNREACH):
		return blocked
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return silence
	}
	return err.Error()
}

// want asks and compares.
func (q question) want(t *testing.T, want string) {
	t.Helper()
	wait := patience
	if want == silence {
		wait = time.Second / 2
	}
	if got := q.answer(t.Context(), wait); got != want {
		t.Errorf("%+v: answered %s, want %s", q, got, want)
	}
}

// both asks over TCP and UDP.
func both(t *testing.T, target, want string) {
	t.Helper()
	for _, proto := range []string{"tcp", "udp"} {
		question{proto: proto, target: target}.want(t, want)
	}
}

// eventually asks until the answer is the one that is wanted.
func (q question) eventually(t *testing.T, want string, within time.Duration) time.Duration {
	t.Helper()
	began, last := time.Now(), ""
	for time.Since(began) < within {
		if last = q.answer(t.Context(), patience); last == want {
			return time.Since(began)
		}
		pause(t, 20*time.Millisecond)
	}
	t.Fatalf("%+v: answered %s for %v, want %s", q, last, within, want)
	return 0
}

// pause waits, unless the test ends.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
