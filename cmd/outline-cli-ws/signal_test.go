//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

const patience = 20 * time.Second

// process is the program as a process of its own.
type process struct {
	config string
	cmd    *exec.Cmd
	lines  *bufio.Scanner // its log
}

// start runs the program in front of a server and waits until it listens.
func start(t *testing.T) (p *process, socks string) {
	t.Helper()
	path := writeConfig(t)
	p = &process{cmd: program(t, "-c", path), config: path}
	p.run(t)
	p.wait(t, "other users can read the configuration")
	_, socks, _ = strings.Cut(p.wait(t, "msg=listening"), "addr=")
	return p, socks
}

// writeConfig runs a server and returns the name of a file that knows it.
func writeConfig(t *testing.T) string {
	t.Helper()
	s, err := outlinetest.Start(outlinetest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ca, err := s.WriteCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf("listen: {socks5: \"127.0.0.1:0\"}\nlog: {format: text}\ndisable_probes: true\n"+
		"upstreams: [{tcp_wss: %q, cipher: %s, secret: %s, tls: {ca_file: %q}}]\n",
		s.StreamURL(), s.Cipher(), s.Secret(), ca)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts the process, which ends with the test.
func (p *process) run(t *testing.T) {
	t.Helper()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(stderr)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
}

// program is this test binary as the program, which TestMain makes of it by its name.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "outline-cli-ws")
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, name, args...)
}

// wait reads the log up to a line that contains text.
func (p *process) wait(t *testing.T, text string) string {
	t.Helper()
	for p.lines.Scan() {
		if strings.Contains(p.lines.Text(), text) {
			return p.lines.Text()
		}
	}
	t.Fatalf("the log ended without %q", text)
	return ""
}

func TestSignalStops(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			p, _ := start(t)
			if err := p.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			p.wait(t, "msg=stopped")
			if err := p.cmd.Wait(); err != nil {
				t.Errorf("exit: %v, want status 0", err)
			}
		})
	}
}

// TestHangupReloads has a flow go on over a reload, another one over one that fails, and a new listener.
func TestHangupReloads(t *testing.T) {
	p, socks := start(t)
	target, err := outlinetest.StartEcho("")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	conn := connect(t, socks, target.Addr())
	hangUp := func(change func(string) string) {
		t.Helper()
		text, err := os.ReadFile(p.config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p.config, []byte(change(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangUp(func(text string) string { return text + "wieght: 1\n" })
	if line := p.wait(t, "not reloaded"); !strings.Contains(line, "wieght") {
		t.Errorf("the reason is not in %s", line)
	}
	hangUp(func(text string) string {
		const one, two = `"127.0.0.1:0"`, `["127.0.0.1:0", "127.0.0.2:0"]`
		return strings.NewReplacer("wieght: 1\n", "", one, two).Replace(text)
	})
	if line := p.wait(t, "msg=listening"); !strings.Contains(line, "addr=127.0.0.2:") {
		t.Errorf("new listener: %s", line)
	}
	p.wait(t, "msg=\"configuration reloaded\"")
	if _, err := conn.Write([]byte("word")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("word"))); err != nil {
		t.Errorf("the flow broke: %v", err)
	}
	connect(t, socks, target.Addr())
}

// TestSecondSignalCutsFlows has a flow in the way of a stop. Its application must not take what it got for
// complete.
func TestSecondSignalCutsFlows(t *testing.T) {
	p, socks := start(t)
	target, err := outlinetest.StartEcho("")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	conn := connect(t, socks, target.Addr())
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait(t, "msg=stopping")
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read = %v, want a reset", err)
	}
	p.wait(t, "msg=stopped")
	_ = p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != exitKilled || time.Since(began) > 5*time.Second {
		t.Errorf("exit status %d after %s, want %d at once", code, time.Since(began), exitKilled)
	}
}

// connect opens a flow and exchanges a word on it.
func connect(t *testing.T, socks, target string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", socks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	addr := netip.MustParseAddrPort(target)
	request := append([]byte{5, 1, 0, 5, 1, 0, 1}, addr.Addr().AsSlice()...)
	request = append(binary.BigEndian.AppendUint16(request, addr.Port()), "word"...)
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	const replies = 2 + 10
	got := make([]byte, replies+len("word"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got[replies:]) != "word" {
		t.Fatalf("flow: %q, %v", got, err)
	}
	return conn
}
