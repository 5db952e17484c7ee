package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	logName    = "client.log"
	listenTime = 10 * time.Second
)

// configure writes the client's configuration: what a user has who names servers and nothing else, but for
// the targets of probes, which would not be on this machine.
func configure(folder, carrier string, servers []*server, t *targets) (string, error) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "listen: {socks5: '127.0.0.1:0'}\nlog: {level: debug, format: json}\n")
	fmt.Fprintf(&text, "probe: {tcp_target: %q, udp_target: %q}\nupstreams:\n", t.web.addr, nameServer)
	for _, s := range servers {
		fmt.Fprintf(&text, "  - name: %s\n    tcp_wss: %q\n    udp_wss: %q\n", s.name,
			s.url(streamPath+carrier), s.url(packetPath+carrier))
		fmt.Fprintf(&text, "    cipher: chacha20-ietf-poly1305\n    secret: %s\n    tls: {ca_file: %q}\n",
			secretWord, s.Certificate)
	}
	path := filepath.Join(folder, "config.yaml")
	return path, os.WriteFile(path, text.Bytes(), 0o600)
}

// client is the program under test.
type client struct {
	*process
	*follower
	log *os.File
}

func startClient(ctx context.Context, binary, config, folder string) (*client, error) {
	log, err := os.Create(filepath.Join(folder, logName))
	if err != nil {
		return nil, err
	}
	c := &client{log: log, follower: newFollower()}
	c.process, err = start(func(line []byte) {
		_, _ = log.Write(line)
		c.follow(line)
	}, binary, "-c", config)
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	select {
	case <-c.listening:
		return c, nil
	case <-c.ended:
		err = fmt.Errorf("the client has ended: %w", c.err)
	case <-time.After(listenTime):
		err = errors.New("the client does not listen")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return c, err
}

func (c *client) stop() error {
	err := c.process.stop()
	_ = c.log.Close()
	return err
}

// cpu is what the client has used; it must have ended.
func (c *client) cpu() time.Duration {
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

// follower learns from the client's log.
type follower struct {
	listening chan struct{} // closed when it does

	mu      sync.Mutex
	proxy   string            // the address of its SOCKS5 port
	current map[string]string // upstream by protocol
	moved   map[string]int    // switches by protocol
}

func newFollower() *follower {
	return &follower{
		listening: make(chan struct{}), current: make(map[string]string), moved: make(map[string]int),
	}
}

// follow takes a line. Most are of no use here, and not worth decoding.
func (f *follower) follow(line []byte) {
	if !bytes.Contains(line, []byte(`"upstream switched"`)) && !bytes.Contains(line, []byte(`"listening"`)) {
		return
	}
	var entry struct{ Msg, Addr, Proto, Upstream, From string }
	if err := json.Unmarshal(line, &entry); err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case entry.Msg == "listening" && f.proxy == "":
		f.proxy = entry.Addr
		close(f.listening)
	case entry.Msg == "upstream switched":
		f.current[entry.Proto] = entry.Upstream
		if entry.From != "" {
			f.moved[entry.Proto]++
		}
	}
}

// address is that of the client's SOCKS5 port.
func (f *follower) address() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.proxy
}

// upstream is the current one of a protocol; empty: there is none yet.
func (f *follower) upstream(proto string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current[proto]
}

// switches is how often a protocol got another upstream.
func (f *follower) switches() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.moved
}
