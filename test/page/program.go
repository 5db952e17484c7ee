package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// program is the real one, in front of two servers.
type program struct {
	Status string // its address
	folder string
	web    *outlinetest.Target
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has

	mu      sync.Mutex
	servers map[string]*outlinetest.Server
}

// startProgram builds the program and runs it.
func startProgram(ctx context.Context) (*program, error) {
	folder, err := os.MkdirTemp("", "page")
	if err != nil {
		return nil, err
	}
	p := &program{folder: folder, servers: make(map[string]*outlinetest.Server)}
	if err := p.run(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *program) run(ctx context.Context) error {
	binary := filepath.Join(p.folder, "outline-cli-ws")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/outline-cli-ws").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	config, err := p.configure()
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, binary, "-c", config)
	log, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	listening := make(chan string, 1)
	go func() { // close waits for it
		defer close(p.ended)
		follow(log, listening)
		_ = p.cmd.Wait()
	}()
	select {
	case p.Status = <-listening:
		return nil
	case <-p.ended:
		return errors.New("the program has ended")
	}
}

// configure starts what the program is to use, and writes its configuration.
func (p *program) configure() (path string, err error) {
	if p.web, err = outlinetest.StartHTTP(""); err != nil {
		return "", err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "listen: {socks5: '127.0.0.1:0'}\nlog: {format: text}\nprobe: {tcp_target: %q}\n"+
		"status: {listen: '127.0.0.1:0', token: %s}\nupstreams:\n", p.web.Addr(), token)
	for _, name := range []string{"amsterdam", "berlin"} {
		s, err := outlinetest.Start(outlinetest.Config{})
		if err != nil {
			return "", err
		}
		p.servers[name] = s
		ca, err := s.WriteCA(p.folder)
		if err != nil {
			return "", err
		}
		if err := os.Rename(ca, ca+name); err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "- {name: %s, tcp_wss: %q, cipher: %s, secret: %s, tls: {ca_file: %q}}\n",
			name, s.StreamURL(), s.Cipher(), s.Secret(), ca+name)
	}
	path = filepath.Join(p.folder, "config.yaml")
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}

// follow reads the log and tells the address of the status from it.
func follow(log io.Reader, listening chan<- string) {
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if _, addr, found := strings.Cut(lines.Text(), "inbound=status addr="); found {
			if _, _, err := net.SplitHostPort(addr); err == nil {
				listening <- addr
			}
		}
	}
}

// kill ends a server as a crash does.
func (p *program) kill(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.servers[r.PathValue("name")]
	if s == nil {
		http.Error(w, "no such server", http.StatusNotFound)
		return
	}
	delete(p.servers, r.PathValue("name"))
	_ = s.Close()
}

// close ends everything and removes it.
func (p *program) close() {
	if p.ended != nil {
		_ = p.cmd.Process.Signal(os.Interrupt)
		select {
		case <-p.ended:
		case <-time.After(15 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	}
	for _, s := range p.servers {
		_ = s.Close()
	}
	if p.web != nil {
		_ = p.web.Close()
	}
	_ = os.RemoveAll(p.folder)
}
