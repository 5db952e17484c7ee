package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// stopTime is how long a process may take to end once it was asked to: the client lets flows finish for 10 s.
const stopTime = 15 * time.Second

// build builds the program under test.
func build(ctx context.Context, folder string) (string, error) {
	binary := filepath.Join(folder, "outline-cli-ws")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/outline-cli-ws").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return binary, nil
}

// process is a child whose output is read line by line.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{} // closed when it has, and its output was read
	err   error         // of its end; read after that
	once  sync.Once
}

// start starts a child. Each line of its output, with the line feed, goes to line.
func start(line func([]byte), name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), ended: make(chan struct{})}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = write, write
	err = p.cmd.Start()
	_ = write.Close()
	if err != nil {
		_ = read.Close()
		return nil, err
	}
	go func() { // stop and kill wait for it
		defer close(p.ended)
		readLines(read, line)
		p.err = p.cmd.Wait()
		_ = read.Close()
	}()
	return p, nil
}

func readLines(from io.Reader, line func([]byte)) {
	for lines := bufio.NewReader(from); ; {
		text, err := lines.ReadBytes('\n')
		if len(text) > 0 {
			line(text)
		}
		if err != nil {
			return
		}
	}
}

// kill ends the process as a crash does: the system closes its sockets.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop asks the process to end, once, and returns how it did.
func (p *process) stop() error {
	p.once.Do(func() {
		_ = p.in.Close()
		_ = p.cmd.Process.Signal(os.Interrupt)
		select {
		case <-p.ended:
		case <-time.After(stopTime):
			p.kill()
			p.err = errors.New("did not end when it was asked to")
		}
	})
	return p.err
}
