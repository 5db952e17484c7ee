package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// manager is a service manager as far as the program sees it.
type manager struct{ socket *net.UnixConn }

func startManager(t *testing.T) (m manager, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return manager{l}, path
}

// wait reads messages up to one that begins with state, and returns it.
func (m manager) wait(t *testing.T, state string) string {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		n, err := m.socket.Read(buf)
		if err != nil {
			t.Fatalf("waiting for %s: %v", state, err)
		}
		if strings.HasPrefix(string(buf[:n]), state) {
			return string(buf[:n])
		}
	}
}

// asService has a shell start the program as systemd does: with sockets, and its own process id in the
// environment.
func asService(t *testing.T, path string, l net.Listener, env ...string) *process {
	t.Helper()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	const script = `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$@"`
	shell := program(t, "-c", path)
	shell.Path, shell.Args = "/bin/sh", append([]string{"sh", "-c", script, "sh"}, shell.Args...)
	shell.ExtraFiles = []*os.File{file}
	shell.Env = append(os.Environ(), append(env, "LISTEN_FDS=1")...)
	p := &process{cmd: shell, config: path}
	p.run(t)
	return p
}

// TestServiceManager has all there is between the program and systemd.
func TestServiceManager(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, path := startManager(t)
	p := asService(t, writeConfig(t), l, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=3000000")
	m.wait(t, "READY=1\nSTATUS=serving")
	m.wait(t, "WATCHDOG=1")

	target, err := outlinetest.StartEcho("")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	connect(t, l.Addr().String(), target.Addr()).Close()

	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGHUP)
	m.wait(t, "RELOADING=1\nMONOTONIC_USEC=")
	m.wait(t, "READY=1\nSTATUS=configuration reloaded")
	if err := os.WriteFile(p.config, []byte("wieght: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	signal(syscall.SIGHUP)
	m.wait(t, "RELOADING=1")
	if status := m.wait(t, "READY=1"); !strings.Contains(status, "not reloaded: ") ||
		!strings.Contains(status, "wieght") {
		t.Errorf("status = %q, want the reason", status)
	}
	signal(syscall.SIGTERM)
	m.wait(t, "STOPPING=1")
	p.wait(t, "msg=stopped")
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("exit: %v, want status 0", err)
	}
}

// TestSocketThatOpensTheProxy has the program refuse a socket that other hosts can reach.
func TestSocketThatOpensTheProxy(t *testing.T) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := asService(t, writeConfig(t), l)
	p.wait(t, "without a password")
	_ = p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != exitUsage {
		t.Errorf("exit status %d, want %d", code, exitUsage)
	}
}
