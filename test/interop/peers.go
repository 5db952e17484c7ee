package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 20 * time.Second // for a peer to serve
	stopTimeout  = 15 * time.Second // from SIGTERM to SIGKILL; the client drains for 10 s
	pollInterval = 20 * time.Millisecond
)

// Require skips the test when a program is missing, or fails it when INTEROP_REQUIRE=1 is set.
func Require(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			skip(t, fmt.Sprintf("%s is not installed (run test/interop/setup.sh)", name))
		}
	}
}

func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("INTEROP_REQUIRE") == "1" {
		t.Fatalf("INTEROP_REQUIRE=1: %s", reason)
	}
	t.Skip(reason)
}

// Process is a program that the test started and that ends with the test.
type Process struct {
	Name string

	cmd    *exec.Cmd
	output syncBuffer
	done   chan struct{} // closed when the program has ended
}

// StartProcess starts cmd. What it printed is shown when the test fails.
func StartProcess(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Name: cmd.Args[0], cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	// The peers end with the test binary even when it dies without its clean-up, as after the time limit.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.Name, err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // the exit status is in cmd.ProcessState
	}()
	t.Cleanup(func() {
		p.Stop(t)
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.Name, p.Output())
		}
	})
	return p
}

// Stop ends the program with SIGTERM and reports one that has to be killed. It may be called more than once.
func (p *Process) Stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		t.Errorf("%s ignored SIGTERM for %v", p.Name, stopTimeout)
		p.Kill()
	}
}

// Kill ends the program at once, as a crash would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// PID is the id of the running program.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// ExitCode is the status of a program that has ended, -1 after a signal.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Output is what the program printed so far.
func (p *Process) Output() string { return p.output.String() }

// WaitServing waits until the program accepts TCP connections at addr.
func (p *Process) WaitServing(t *testing.T, addr string) {
	t.Helper()
	p.WaitFor(t, "serve "+addr, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// WaitBound waits until the program has the UDP port of addr: nobody refuses packets to it.
func (p *Process) WaitBound(t *testing.T, addr string) {
	t.Helper()
	p.WaitFor(t, "bind UDP port "+addr, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte{0}); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(pollInterval)); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read = %w, want no answer", err)
		}
		return nil
	})
}

// WaitLeaving waits until the program accepts no more TCP connections at addr.
func (p *Process) WaitLeaving(t *testing.T, addr string) {
	t.Helper()
	p.WaitFor(t, "leave "+addr, func(context.Context) error {
		if !bindable(addr) {
			return errors.New("the port is taken")
		}
		return nil
	})
}

// WaitFor repeats try until it gives no error, and fails the test when the program ends or takes too long.
func (p *Process) WaitFor(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended before it could %s:\n%s", p.Name, what, p.Output())
		case <-ctx.Done():
			t.Fatalf("%s did not %s within %v: %v", p.Name, what, startTimeout, err)
		case <-time.After(pollInterval):
		}
	}
}

// StartShadowsocks starts Debian's ss-server for TCP and UDP and returns its address.
func StartShadowsocks(t *testing.T, host netip.Addr, cipher string) string {
	t.Helper()
	Require(t, "ss-server")
	addr := freeAddr(t, host)
	port := strconv.Itoa(int(netip.MustParseAddrPort(addr).Port()))
	const flags = "-u" // UDP as well
	cmd := exec.Command("ss-server", flags, "-s", host.String(), "-p", port, "-k", secret, "-m", cipher)
	p := StartProcess(t, cmd)
	p.WaitFor(t, "serve "+addr, func(ctx context.Context) error { return answersEOF(ctx, addr) })
	return addr
}

// answersEOF ends a connection's sending half and waits for the peer's end: the peer's event loop runs, so it
// serves UDP too.
func answersEOF(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read = %w, want EOF", err)
	}
	return nil
}

// freeAddr is an address whose port is free for TCP and UDP. The port lies below the range that the kernel
// gives to outgoing connections, so that it is still free when the peer opens it.
func freeAddr(t *testing.T, host netip.Addr) string {
	t.Helper()
	const first, count, attempts = 20000, 12000, 100
	for range attempts {
		addr := netip.AddrPortFrom(host, uint16(first+rand.IntN(count))).String()
		if bindable(addr) {
			return addr
		}
	}
	t.Fatalf("no free port on %s in %d attempts", host, attempts)
	return ""
}

func bindable(addr string) bool {
	stream, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer stream.Close()
	packet, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return packet.Close() == nil
}

// syncBuffer keeps what a program prints, up to a bound.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	const limit = 1 << 20
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() < limit {
		b.buf.Write(p)
	}
	return len(p), nil
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
