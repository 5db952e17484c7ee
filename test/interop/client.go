package interop

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Programs are the paths of the binaries that the suite builds.
type Programs struct {
	Client, Caddy string
}

// Build builds the programs into dir. INTEROP_RACE=1 builds the client with the race detector, which makes it
// end with a status of its own when it has found something.
func Build(dir string) (Programs, error) {
	p := Programs{Client: filepath.Join(dir, "outline-cli-ws"), Caddy: filepath.Join(dir, "caddy")}
	if err := build(".", "./caddy", "-o", p.Caddy); err != nil {
		return p, err
	}
	flags := []string{"-o", p.Client}
	if os.Getenv("INTEROP_RACE") == "1" {
		flags = append(flags, "-race")
	}
	return p, build("../..", "./cmd/outline-cli-ws", flags...)
}

func build(module, pkg string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), pkg)...)
	cmd.Dir = module
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// Client is a running outline-cli-ws.
type Client struct {
	*Process

	SOCKS string // address of its SOCKS5 listener
}

// StartClient starts the client with a SOCKS5 listener on host and server as its only upstream. extra are
// further keys of the upstream, each "key: value".
func (p Programs) StartClient(t *testing.T, host netip.Addr, server *Server, extra ...string) Client {
	t.Helper()
	return p.start(t, host, server, append([]string{"disable_probes: true"}, indented(extra)...))
}

// StartReadyClient is StartClient for a client that keeps connections ready.
func (p Programs) StartReadyClient(t *testing.T, host netip.Addr, server *Server) Client {
	t.Helper()
	return p.start(t, host, server, []string{"probe: {enable_tcp: false, enable_udp: false}"})
}

// start starts a client. The first line is the configuration's, the others belong to the upstream.
func (p Programs) start(t *testing.T, host netip.Addr, server *Server, lines []string) Client {
	t.Helper()
	return p.startAt(t, freeAddr(t, host), server, lines)
}

// startAt starts a client that listens at an address of its own. The words of before are a command that runs
// it.
func (p Programs) startAt(
	t *testing.T, socks string, server *Server, lines []string, before ...string,
) Client {
	t.Helper()
	config := clientConfig(socks, server, lines)
	path := writeFile(t, filepath.Join(t.TempDir(), "config.yaml"), []byte(config))
	words := append(before, p.Client, "-c", path)
	process := StartProcess(t, exec.Command(words[0], words[1:]...))
	t.Cleanup(func() {
		process.Stop(t)
		if code := process.ExitCode(); code != 0 {
			t.Errorf("the client ended with status %d after SIGTERM, want 0", code)
		}
	})
	process.WaitServing(t, socks)
	return Client{process, socks}
}

func indented(extra []string) []string {
	lines := make([]string, 0, len(extra))
	for _, line := range extra {
		lines = append(lines, "    "+line)
	}
	return lines
}

func clientConfig(socks string, server *Server, extra []string) string {
	lines := []string{
		"listen:",
		fmt.Sprintf("  socks5: %q", socks),
		"  allow_open: true", // in namespaces the client is on another host than the test
		"log:",
		"  level: debug",
		extra[0],
		fmt.Sprintf("dns: {servers: [%s]}", quoted(server.Names)),
		"upstreams:",
	}
	lines = append(lines, upstreamConfig("peer", server)...)
	return strings.Join(append(lines, extra[1:]...), "\n") + "\n"
}

// upstreamConfig is the lines of an element of upstreams.
func upstreamConfig(name string, server *Server) []string {
	return []string{
		fmt.Sprintf("  - name: %q", name),
		fmt.Sprintf("    tcp_wss: %q", server.StreamURL()),
		fmt.Sprintf("    udp_wss: %q", server.PacketURL()),
		fmt.Sprintf("    cipher: %q", server.Cipher),
		fmt.Sprintf("    secret: %q", server.Secret),
		"    tls:",
		fmt.Sprintf("      ca_file: %q", server.CA),
	}
}

// quoted is text as YAML wants it, nothing for nothing.
func quoted(text string) string {
	if text == "" {
		return ""
	}
	return strconv.Quote(text)
}

// OpenFiles counts the file descriptors of the client.
func (c Client) OpenFiles() (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.PID()))
	return len(entries), err
}
