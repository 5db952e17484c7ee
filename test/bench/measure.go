package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// patience bounds each thing that is waited for.
const patience = 5 * time.Minute

// Configurations, by what stands ready before a flow needs it. Probes would only disturb.
const (
	nothingReady = "disable_probes: true"
	standbyReady = "probe: {enable_tcp: false, enable_udp: false}"
)

// load is what a run does.
type load struct {
	cipher string
	flag   string // of the URL, for the carrier
	size   int64  // bytes each way
	flows  int    // held idle
	rtt    time.Duration
	within *group // nil: as much memory as there is
	extra  string // lines of the configuration
}

// transfer is the cost of moving bytes one way.
type transfer struct {
	cpuPerGB float64 // seconds of the client process
	rate     float64 // MB/s
}

type result struct {
	up, down transfer
	perFlow  float64 // KiB of resident memory
	idle     float64 // MiB of resident memory before any flow
}

// build builds the program under test.
func build(ctx context.Context, folder string) (string, error) {
	binary := filepath.Join(folder, "outline-cli-ws")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/outline-cli-ws").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return binary, nil
}

// rig is a server and the program in front of it.
type rig struct {
	places
	meter
	children []*process
	log      *journal // of the program
}

func (r *rig) stop() {
	for i := len(r.children) - 1; i >= 0; i-- {
		r.children[i].stop()
	}
}

// child starts one more process, and decodes its first line.
func (r *rig) child(ctx context.Context, first any, name string, args ...string) (*process, error) {
	p, err := start(ctx, name, args...)
	if err != nil {
		return nil, err
	}
	r.children = append(r.children, p)
	return p, json.Unmarshal(p.first, first)
}

// set starts a rig whose server is a round trip time away. The caller stops it, after an error too.
func set(ctx context.Context, b built, l load) (r *rig, err error) {
	r = new(rig)
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	if _, err := r.child(ctx, &r.places, self, "-serve", l.cipher); err != nil {
		return r, err
	}
	u, err := url.Parse(r.Stream + l.flag)
	if err != nil {
		return r, err
	}
	if l.rtt > 0 {
		if _, err := r.child(ctx, &u.Host, self, "-path", u.Host, "-rtt", l.rtt.String()); err != nil {
			return r, err
		}
	}
	config := filepath.Join(b.folder, "config.yaml")
	text := fmt.Sprintf("listen: {socks5: '127.0.0.1:0'}\nlog: {format: json}\n%s\nupstreams:\n"+
		"  - {tcp_wss: %q, cipher: %s, secret: %s, tls: {ca_file: %q}}\n", l.extra, u, l.cipher, secret, r.CA)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return r, err
	}
	var line struct{ Addr string }
	command := l.within.inside(b.binary, "-c", config)
	client, err := r.child(ctx, &line, command[0], command[1:]...)
	if err != nil {
		return r, err
	}
	r.log = &client.log
	r.meter = meter{pid: client.cmd.Process.Pid, proxy: line.Addr}
	return r, nil
}

// measure runs a rig through one load.
func measure(ctx context.Context, b built, l load) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := set(ctx, b, l)
	defer r.stop()
	if err != nil {
		return result{}, err
	}
	return r.run(r.places, l)
}

// process is a child with the first line that it printed.
type process struct {
	cmd   *exec.Cmd
	first []byte
	log   journal // the other lines
	rest  sync.WaitGroup
}

// journal holds what a process has printed.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// has reports whether these words were printed.
func (j *journal) has(words string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Contains(j.text.Bytes(), []byte(words))
}

func start(ctx context.Context, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = write, write
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	err = p.cmd.Start()
	_ = write.Close()
	if err != nil {
		return nil, err
	}
	lines := bufio.NewReader(read)
	if p.first, err = lines.ReadBytes('\n'); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s said nothing: %w", name, err)
	}
	p.rest.Go(func() { _, _ = io.Copy(&p.log, lines) }) // ends with the process
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait()
	p.rest.Wait()
}

// meter reads what a process costs and puts load on it.
type meter struct {
	pid   int
	proxy string
}

func (m meter) run(p places, l load) (r result, err error) {
	if r.idle, err = m.resident(); err != nil {
		return r, err
	}
	if r.perFlow, err = m.idleFlows(p.Echo, l.flows); err != nil {
		return r, fmt.Errorf("idle flows: %w", err)
	}
	if r.up, err = m.cost(l.size, func() error { return m.upload(p.Sink, l.size) }); err != nil {
		return r, fmt.Errorf("upload: %w", err)
	}
	if r.down, err = m.cost(l.size, func() error { return m.download(p.Source, l.size) }); err != nil {
		return r, fmt.Errorf("download: %w", err)
	}
	return r, nil
}

// cost relates the process's CPU time to the bytes that move moves.
func (m meter) cost(size int64, move func() error) (transfer, error) {
	before, err := m.cpu()
	if err != nil {
		return transfer{}, err
	}
	began := time.Now()
	if err := move(); err != nil {
		return transfer{}, err
	}
	took := time.Since(began)
	after, err := m.cpu()
	return transfer{
		cpuPerGB: (after - before).Seconds() / (float64(size) / 1e9),
		rate:     float64(size) / 1e6 / took.Seconds(),
	}, err
}

func (m meter) upload(target string, size int64) error {
	conn, err := m.connect(target)
	if err != nil {
		return err
	}
	defer conn.Close()
	block := make([]byte, 256<<10)
	for sent := int64(0); sent < size; sent += int64(len(block)) {
		if _, err := conn.Write(block); err != nil {
			return err
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

func (m meter) download(target string, size int64) error {
	conn, err := m.connect(target)
	if err != nil {
		return err
	}
	defer conn.Close()
	block := make([]byte, 256<<10)
	for got := int64(0); got < size; {
		n, err := conn.Read(block)
		if err != nil {
			return err
		}
		got += int64(n)
	}
	return nil
}

// idleFlows holds flows that have exchanged a block each, which is when the layers below have the buffers
// that they keep, and returns KiB of resident memory per flow.
func (m meter) idleFlows(target string, flows int) (float64, error) {
	before, err := m.resident()
	if err != nil {
		return 0, err
	}
	for range flows {
		conn, err := m.connect(target)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		block := make([]byte, 32<<10)
		if _, err := conn.Write(block); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, block); err != nil {
			return 0, err
		}
	}
	after, err := m.resident()
	return (after - before) * 1024 / float64(flows), err
}

// replyError is a SOCKS5 reply other than success (RFC 1928, section 6).
type replyError byte

const generalFailure replyError = 1

func (e replyError) Error() string { return fmt.Sprintf("SOCKS5 reply %d", byte(e)) }

// connect opens a flow through the proxy.
func (m meter) connect(target string) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", m.proxy, patience)
	if err != nil {
		return nil, err
	}
	if err := request(conn, target); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func request(conn net.Conn, target string) error {
	addr, err := socksaddr.Parse(target)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append([]byte{5, 1, 0}, addr.Append([]byte{5, 1, 0})...)); err != nil {
		return err
	}
	var reply [5]byte
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return err
	}
	if reply[3] != 0 {
		return replyError(reply[3])
	}
	_, err = socksaddr.Read(conn)
	return err
}

// cpu is the user and system time of the process so far (proc_pid_stat(5)).
func (m meter) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte(") ")) // the name may hold anything
	fields := strings.Fields(string(rest))
	const utime, stime, tick = 11, 12, 10 * time.Millisecond
	user, err := strconv.Atoi(fields[utime])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[stime])
	return time.Duration(user+system) * tick, err
}

// resident is the resident memory of the process in MiB.
func (m meter) resident() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", m.pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	return float64(pages) * float64(os.Getpagesize()) / (1 << 20), err
}
