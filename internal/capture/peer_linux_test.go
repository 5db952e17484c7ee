package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// probe is one question to a target: who answers it?
type probe struct {
	proto, target string
	from          string // the source address
	device        string // SO_BINDTODEVICE
	mark          int
}

// The answers to a probe. Anything else is an error.
const (
	byFar   = "far"    // the far end, over the uplink
	byTUN   = "tunnel" // who reads the device
	blocked = "blocked"
	noRoute = "no route"
	silence = "silence"
)

// answer asks.
func (p probe) answer(ctx context.Context, wait time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return p.prepare(raw) }}
	if p.from != "" {
		d.LocalAddr = p.local()
	}
	conn, err := d.DialContext(ctx, p.proto, p.target)
	if err != nil {
		return verdictOf(err)
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if p.proto == "udp" {
		if _, err := conn.Write([]byte("who?")); err != nil {
			return verdictOf(err)
		}
	}
	buf := make([]byte, 16)
	n, err := conn.Read(buf)
	if err != nil {
		return verdictOf(err)
	}
	return string(buf[:n])
}

func (p probe) local() net.Addr {
	if p.proto == "udp" {
		return &net.UDPAddr{IP: net.ParseIP(p.from)}
	}
	return &net.TCPAddr{IP: net.ParseIP(p.from)}
}

func (p probe) prepare(raw syscall.RawConn) (err error) {
	ctl := raw.Control(func(fd uintptr) {
		if p.mark != 0 {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, p.mark)
		}
		if p.device != "" {
			err = errors.Join(err, unix.BindToDevice(int(fd), p.device))
		}
	})
	return errors.Join(ctl, err)
}

// verdictOf says in a word what an error means. Only who reads the device refuses a connection.
func verdictOf(err error) string {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return byTUN
	case errors.Is(err, unix.ENETUNREACH):
		return noRoute
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return blocked
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return silence
	}
	return err.Error()
}

// want asks and compares.
func (p probe) want(t *testing.T, want string) {
	t.Helper()
	if got := p.answer(t.Context(), waitFor(want)); got != want {
		t.Errorf("%+v: answered by %q, want %q", p, got, want)
	}
}

// late is what becomes of an answer where the kernel does not tell the socket of it: the ICMPv6 error for a
// connection that is bound to a device comes from another one, and the connection times out.
func (p probe) late(want string) string {
	if want == blocked && p.proto == "tcp" && p.device != "" && strings.HasPrefix(p.target, "[") {
		return silence
	}
	return want
}

// both asks over TCP and UDP.
func both(t *testing.T, target, want string) {
	t.Helper()
	for _, proto := range []string{"tcp", "udp"} {
		probe{proto: proto, target: target}.want(t, want)
	}
}

// waitFor is how long an answer may take.
func waitFor(want string) time.Duration {
	if want == silence {
		return enough
	}
	return timeout
}

// runFar does what it is told, line by line: "listen PROTO ADDR", "ask PROTO ADDR [FROM [WANT]]".
func runFar(in io.Reader, out io.Writer) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := append(strings.Fields(lines.Text()), "", "", "", "", "")
		answer := "ok"
		switch words[0] {
		case "listen":
			if err := answerOn(words[1], words[2]); err != nil {
				answer = err.Error()
			}
		case "ask":
			p := probe{proto: words[1], target: words[2], from: words[3]}
			answer = p.answer(context.Background(), waitFor(words[4]))
		}
		_, _ = fmt.Fprintln(out, answer)
	}
}

// answerOn answers with byFar until the process ends.
func answerOn(proto, address string) error {
	if proto == "udp" {
		conn, err := net.ListenPacket(proto, address)
		if err != nil {
			return err
		}
		go func() {
			buf := make([]byte, 1500)
			for {
				if _, from, err := conn.ReadFrom(buf); err == nil {
					_, _ = conn.WriteTo([]byte(byFar), from)
				}
			}
		}()
		return nil
	}
	l, err := net.Listen(proto, address)
	if err != nil {
		return err
	}
	go func() {
		for {
			if conn, err := l.Accept(); err == nil {
				_, _ = conn.Write([]byte(byFar))
				_ = conn.Close()
			}
		}
	}()
	return nil
}
