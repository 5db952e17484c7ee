//go:build e2e && linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is the one under test, running.
type program struct {
	cmd    *exec.Cmd
	config string
	log    *logbook
	ended  chan struct{} // closed when it has
}

// logbook is what a process prints.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// config is a configuration with the whole of the tunnel's key, and servers by name or URL.
func (o *outside) config(t *testing.T, tun string, servers ...string) string {
	t.Helper()
	urls := o.must(t, order{Do: "urls"}).URLs
	var b strings.Builder
	fmt.Fprintf(&b, "tun: %s\nlog: {format: text, level: debug}\nupstreams:\n", tun)
	for _, name := range servers {
		at := urls[strings.TrimSuffix(name, " by name")]
		if strings.HasSuffix(name, " by name") {
			for i := range at {
				at[i] = strings.Replace(at[i], server4, serverName, 1)
			}
		}
		fmt.Fprintf(&b, "  - {name: %q, tcp_wss: %q, udp_wss: %q, ", name, at[0], at[1])
		b.WriteString("cipher: chacha20-ietf-poly1305, secret: secret}\n")
	}
	return b.String()
}

// start starts the program. The words of before are a command that runs it.
func start(t *testing.T, config string, before ...string) *program {
	t.Helper()
	dir := t.TempDir()
	_ = os.Chmod(dir, 0o755) // another user runs the program too
	_ = os.Chmod(filepath.Dir(dir), 0o755)
	path := filepath.Join(dir, "config.yaml")
	write(t, path, config)
	words := append(before, os.Getenv(programVar), "-c", path)
	p := &program{
		cmd:    exec.Command(words[0], words[1:]...),
		config: path, log: new(logbook), ended: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			lines := strings.Split(p.log.String(), "\n")
			t.Logf("the program's log ends with:\n%s", strings.Join(lines[max(0, len(lines)-80):], "\n"))
		}
	})
	return p
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// startTunnel starts the program and waits until flows go through its tunnel.
func startTunnel(t *testing.T, config string, before ...string) *program {
	t.Helper()
	p := start(t, config, before...)
	p.says(t, "full tunnel")
	for _, proto := range []string{"tcp", "udp"} {
		question{proto: proto, target: web4 + ":" + whoPort}.eventually(t, tunnel, 20*time.Second)
	}
	return p
}

// says waits until the program's log has a text.
func (p *program) says(t *testing.T, text string) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 20*time.Second; pause(t, 5*time.Millisecond) {
		if strings.Contains(p.log.String(), text) {
			return
		}
		select {
		case <-p.ended:
			if strings.Contains(p.log.String(), text) {
				return
			}
			t.Fatalf("the program ended without saying %q", text)
		default:
		}
	}
	t.Fatalf("the program does not say %q", text)
}

// kill is a crash.
func (p *program) kill(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop ends the program as it should end.
func (p *program) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("the program does not end")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the program ended with status %d, want 0", code)
	}
}

// hup has the program reload a configuration.
func (p *program) hup(t *testing.T, config string) {
	t.Helper()
	write(t, p.config, config)
	n := strings.Count(p.log.String(), "configuration reloaded")
	_ = p.cmd.Process.Signal(syscall.SIGHUP)
	for began := time.Now(); time.Since(began) < 10*time.Second; pause(t, 5*time.Millisecond) {
		if strings.Count(p.log.String(), "configuration reloaded") > n {
			return
		}
	}
	t.Fatalf("the program does not reload")
}
