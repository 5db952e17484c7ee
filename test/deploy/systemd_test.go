package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

const (
	service = "outline-cli-ws.service"
	socket  = "outline-cli-ws.socket"
	port    = "127.0.0.1:1080"
)

// TestUnderSystemd installs the service as the page says, and has systemd do to it what it does to services.
func TestUnderSystemd(t *testing.T) {
	inNetwork(t, testUnderSystemd)
}

func testUnderSystemd(t *testing.T) {
	need(t, "nsenter", "mount")
	target, err := outlinetest.StartEcho("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	m := StartMachine(t)
	w := &world{m, target.Addr()}
	w.prepare(t)
	t.Run("install", w.install)
	t.Run("reload", w.reload)
	t.Run("watchdog", w.watchdog)
	t.Run("credentials", w.credentials)
	t.Run("socket", w.socket)
	t.Run("fwmark", w.fwmark)
	t.Run("tun", w.tun)
	t.Run("stop", w.stop)
	if t.Failed() {
		log, _ := os.ReadFile(m.Share + "/log")
		t.Logf("log of the program:\n%s", log)
	}
}

// world is the service, and what it serves.
type world struct {
	*Machine
	target string
}

// prepare puts into /mnt what the commands of the page want in their folder.
func (w *world) prepare(t *testing.T) {
	t.Helper()
	build := exec.Command("go", "build", "-o", w.Share, "./cmd/outline-cli-ws")
	build.Dir, build.Env = repository, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	if err := os.CopyFS(w.Share+"/deploy/systemd", os.DirFS(repository+"/deploy/systemd")); err != nil {
		t.Fatal(err)
	}
	s, err := outlinetest.Start(outlinetest.Config{Secret: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ca, err := s.WriteCA(w.Share)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Share+"/server-1.secret", "s3cret\n")
	write(t, w.Share+"/base.yaml", fmt.Sprintf(`state_file: /var/lib/outline-cli-ws/state.json
disable_probes: true
upstreams:
  - name: server-1
    tcp_wss: %s
    cipher: %s
    tls: {ca_file: %s}
`, s.StreamURL(), s.Cipher(), filepath.Base(ca)))
	w.config(t, "    secret: s3cret\n")
	// What is no part of the service: the test wants to see its log, and has less patience.
	write(t, w.Share+"/test.conf", "[Service]\nWatchdogSec=3\nStandardOutput=append:/mnt/log\n"+
		"StandardError=append:/mnt/log\n")
	w.Run(t, "install -D -m 644 test.conf /etc/systemd/system/"+service+".d/test.conf\n"+
		"install -D -m 644 -t /etc/outline-cli-ws "+filepath.Base(ca))
}

// config writes config.yaml as the user has it, with more lines about the upstream and the rest.
func (w *world) config(t *testing.T, more string) {
	t.Helper()
	base, err := os.ReadFile(w.Share + "/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Share+"/config.yaml", string(base)+more)
}

func (w *world) install(t *testing.T) {
	w.Run(t, commands(t, "## systemd", "enable --now outline-cli-ws.service"))
	w.wantServing(t, "serving")
	status := w.Run(t, "cat /proc/$(systemctl show --value --property MainPID "+service+")/status")
	for _, want := range []string{"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("status of the process has no %q:\n%s", want, status)
		}
	}
	if strings.Contains(status, "Uid:\t0") {
		t.Error("it runs as root")
	}
}

// wantServing wants the unit to be up, with that status, and a flow to be carried.
func (w *world) wantServing(t *testing.T, status string) {
	t.Helper()
	w.WaitProperty(t, service, "ActiveState", "active")
	w.WaitProperty(t, service, "StatusText", status)
	w.wantFlow(t)
}

func (w *world) wantFlow(t *testing.T) {
	t.Helper()
	if err := flow(port, w.target); err != nil {
		t.Fatal(err)
	}
}

func (w *world) reload(t *testing.T) {
	reload := commands(t, "## systemd", "systemctl reload")
	before := w.Property(t, service, "MainPID")
	w.Run(t, reload)
	w.wantServing(t, "configuration reloaded")
	w.config(t, "    secret: s3cret\n    wieght: 1\n")
	w.Run(t, reload)
	w.wantServing(t, "not reloaded: /etc/outline-cli-ws/config.yaml:9: upstreams[0].wieght: unknown key")
	w.config(t, "    secret: s3cret\n")
	w.Run(t, reload)
	w.wantServing(t, "configuration reloaded")
	if after := w.Property(t, service, "MainPID"); after != before {
		t.Errorf("process %s in the place of %s", after, before)
	}
}

// watchdog stops the process, as something does that hangs.
func (w *world) watchdog(t *testing.T) {
	w.Run(t, "systemctl kill --kill-who=main --signal=STOP "+service)
	w.WaitProperty(t, service, "NRestarts", "1")
	w.wantServing(t, "serving")
}

func (w *world) credentials(t *testing.T) {
	w.config(t, `    secret_file: "${CREDENTIALS_DIRECTORY}/server-1"`+"\n")
	w.Run(t, "install -m 640 -g outline-config config.yaml /etc/outline-cli-ws/")
	w.Run(t, commands(t, "### Secrets", "secrets.conf"))
	w.wantServing(t, "serving")
}

// socket has a client that comes while nobody runs.
func (w *world) socket(t *testing.T) {
	w.Run(t, commands(t, "### A socket that is always there", socket))
	w.WaitProperty(t, socket, "ActiveState", "active")
	if state := w.Property(t, service, "ActiveState"); state != "inactive" {
		t.Fatalf("the service is %s before anybody connects", state)
	}
	w.wantFlow(t)
	w.wantServing(t, "serving")
	w.Run(t, "systemctl restart --no-block "+service)
	w.wantFlow(t)
	w.wantServing(t, "serving")
}

func (w *world) fwmark(t *testing.T) {
	w.config(t, `    secret_file: "${CREDENTIALS_DIRECTORY}/server-1"`+"\nfwmark: 1\n")
	w.Run(t, "install -m 640 -g outline-config config.yaml /etc/outline-cli-ws/")
	w.Run(t, commands(t, "### fwmark", "fwmark.conf"))
	w.wantServing(t, "serving")
	status := w.Run(t, "cat /proc/$(systemctl show --value --property MainPID "+service+")/status")
	const netAdmin = "CapEff:\t0000000000001000"
	if !strings.Contains(status, netAdmin) {
		t.Errorf("status of the process has no %q:\n%s", netAdmin, status)
	}
}

// tun has a full tunnel, of a user without any right but the one.
func (w *world) tun(t *testing.T) {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip(err)
	}
	w.config(t, `    secret_file: "${CREDENTIALS_DIRECTORY}/server-1"
tun: {enable: true, strict: true}
`)
	w.Run(t, "install -m 640 -g outline-config config.yaml /etc/outline-cli-ws/\n"+
		"rm /etc/systemd/system/"+service+".d/fwmark.conf")
	w.Run(t, commands(t, "### The full tunnel", "tun.conf"))
	w.wantServing(t, "serving")
	const up = "up: traffic goes to tun0"
	if got := w.Run(t, "outline-cli-ws tun status"); !strings.Contains(got, up) {
		t.Errorf("tun status says %q, want %q", got, up)
	}
	before := w.Property(t, service, "MainPID")
	w.Run(t, "systemctl kill --kill-who=main --signal=KILL "+service)
	within(t, "another process", func() error {
		if pid := w.Property(t, service, "MainPID"); pid == before || pid == "0" {
			return fmt.Errorf("process %s", pid)
		}
		return nil
	})
	w.wantServing(t, "serving")
	w.Run(t, "systemctl stop "+service+" "+socket)
	if got := w.Run(t, "outline-cli-ws tun status || true"); !strings.HasPrefix(got, "down:") {
		t.Errorf("tun status says %q after the end", got)
	}
	w.Run(t, "systemctl start "+service)
}

func (w *world) stop(t *testing.T) {
	w.Run(t, "systemctl stop "+service+" "+socket)
	if result := w.Property(t, service, "Result"); result != "success" {
		t.Errorf("result = %s", result)
	}
	w.Run(t, "test -s /var/lib/outline-cli-ws/state.json")
}
