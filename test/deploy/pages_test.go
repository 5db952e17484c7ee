package deploy

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// pages are those with commands, in the order in which they are read, and what does everything that they say.
var pages = []struct {
	name string
	read func(*Page, *testing.T)
}{
	{"README.md", (*Page).readREADME},
	{"docs/config.md", (*Page).readConfig},
	{"docs/status.md", (*Page).readStatus},
	{"docs/metrics.md", (*Page).readMetrics},
	{"docs/service.md", (*Page).readService},
	{"docs/tun.md", (*Page).readTun},
	{"CONTRIBUTING.md", (*Page).readContributing},
	{"docs/decisions/0007-tunnel-stack.md", (*Page).readTunnelStack},
}

// TestPages does what the pages say, as written, and wants it to work. There is one world for all of them:
// the server that the pages take as an example, and the internet behind it.
func TestPages(t *testing.T) {
	inNetwork(t, testPages)
}

func testPages(t *testing.T) {
	need(t, "bash", "curl", "git", "go", "make", "nsenter", "openssl", "promtool", "setcap", "ssh")
	m := StartMachine(t, foldersOfGo(t)...)
	startExample(t, m)
	origin(t, m)
	r := NewReader(t, m)
	r.StandIn(t, "docker")
	r.StandIn(t, "kubectl")
	for _, page := range pages {
		if !t.Run(page.name, func(t *testing.T) {
			p := r.Open(t, page.name)
			page.read(p, t)
			p.Close(t)
		}) {
			return // the next one begins where this one should have ended
		}
	}
}

// foldersOfGo are its own, and those that it has so that nothing is fetched or built again.
func foldersOfGo(t *testing.T) []string {
	t.Helper()
	folders, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(folders))
}

// TestEveryPage looks for pages with commands that TestPages does not read.
func TestEveryPage(t *testing.T) {
	need(t, "git")
	list := exec.Command("git", "-C", repository, "-c", "safe.directory=*", "ls-files", "-z", "*.md")
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		if name == "CHANGELOG.md" {
			continue // it tells what there is, and not what to do
		}
		pieces, err := Pieces(readPage(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !isRead(name) {
			(&Page{name: name, rest: pieces}).Close(t)
		}
	}
}

func isRead(name string) bool {
	for _, page := range pages {
		if page.name == name {
			return true
		}
	}
	return false
}

// origin makes the repository that a reader clones.
func origin(t *testing.T, m *Machine) {
	t.Helper()
	folder := clone(t)
	for _, command := range []string{
		"init --quiet --initial-branch=main",
		"add --all",
		"-c user.name=test -c user.email=test@localhost commit --quiet --message=test",
		"clone --quiet --bare . " + m.Share + "/outline-cli-ws.git",
	} {
		cmd := exec.Command("git", strings.Fields(command)...)
		cmd.Dir = folder
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", command, err, output)
		}
	}
}

// startExample starts the server that the pages show, with the names, paths and secret that they show, and
// the internet behind it. The machine knows nobody else by name, so that whatever is reached by another name
// was reached through that server.
func startExample(t *testing.T, m *Machine) {
	t.Helper()
	certificate := filepath.Join(t.TempDir(), "certificate.pem")
	web, dns := startTarget(t, outlinetest.StartHTTP), startTarget(t, outlinetest.StartDNS)
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := outlinetest.Start(outlinetest.Config{
		Addr: "127.0.0.1:443", Secret: "YOUR_SECRET", StreamPath: "/TCP_PATH", PacketPath: "/UDP_PATH",
		Cert: outlinetest.Cert{
			File: certificate, Names: []string{"example.com", "ams.example.com", "ifconfig.me"},
		},
		Hosts: map[string]string{
			"example.com:80": web, "1.1.1.1:53": dns,
			"example.com:443": secure.Addr().String(), "ifconfig.me:443": secure.Addr().String(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	site := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(w, "%s through the tunnel\n", request.Host)
	})}
	go func() { _ = site.ServeTLS(secure, certificate, certificate) }()
	t.Cleanup(func() { _ = site.Close() })
	write(t, m.Share+"/ca.pem", string(s.CAPEM()))
	m.Run(t, "cat ca.pem >>/etc/ssl/certs/ca-certificates.crt\n"+
		"echo 127.0.0.1 example.com ams.example.com >>/etc/hosts")
}

// startTarget returns the address of a target that ends with the test.
func startTarget(t *testing.T, start func(addr string) (*outlinetest.Target, error)) string {
	t.Helper()
	target, err := start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	return target.Addr()
}
