package deploy

import (
	"regexp"
	"strings"
	"testing"
)

const started = `"msg":"listening"`

// usable is in the log once the server of README.md can be used for TCP, which is when the program is ready.
const usable = `"upstream up","upstream":"server-1","proto":"tcp"`

// readREADME begins in an empty folder, and leaves the reader in a clone with a program, a configuration that
// works and nothing that runs.
func (p *Page) readREADME(t *testing.T) {
	r := p.reader
	p.Fill("<repo>", "/mnt/outline-cli-ws.git")
	p.Do(t, "git clone <repo>\ncd outline-cli-ws\ngo build -o outline-cli-ws ./cmd/outline-cli-ws")

	demo := p.Stay(t, "go run ./examples/demo")
	said := demo.Wait(t, "Ctrl-C ends the demo")
	wantText(t, r.Type(t, regexp.MustCompile(`curl .*`).FindString(said)), "through the tunnel")
	demo.Interrupt(t) // whose status is that of go run

	r.Write(t, "config.yaml", p.File(t))
	client := p.Stay(t, "chmod 600 config.yaml\n./outline-cli-ws -c config.yaml")
	client.Wait(t, started)
	wantPage(t, p.Do(t, "curl -x socks5h://127.0.0.1:1080 https://ifconfig.me"), "ifconfig.me")
	p.askDocker(t, "docker compose up --build")

	r.Type(t, "echo 'status: {enable: true}' >>config.yaml")
	p.Fill("PID", strings.TrimSpace(r.Type(t, "pidof outline-cli-ws")))
	p.Do(t, "kill -HUP PID")
	client.Wait(t, "127.0.0.1:9101")
	wantText(t, r.Type(t, "curl --fail http://127.0.0.1:9101/"), "</html>")
	watch := p.Stay(t, "./outline-cli-ws status -c config.yaml -watch")
	watch.Wait(t, "server-1")
	wantEnd(t, watch)
	wantEnd(t, client)

	client = p.Stay(t, "./outline-cli-ws -c config.yaml -metrics 127.0.0.1:9100")
	client.Wait(t, "127.0.0.1:9100")
	wantText(t, r.Type(t, "curl --fail http://127.0.0.1:9100/metrics"), "outlinews_ready ")
	wantEnd(t, client)

	wantStep(t, p, "go test ./... -tags unit")
	wantText(t, p.Do(t, "make help"), "chaos")
	wantChaos(t, p, "make chaos", "200 flows at a time over h1")
}

func (p *Page) readContributing(t *testing.T) {
	wantStep(t, p, "go test ./... -tags unit")
	wantText(t, p.reader.Type(t, "make --dry-run lint race"), "go test -race")
	p.Skip(t, "make lint race", "these are steps of CI")
	p.Skip(t, ".ci/run", "this is where the test runs")
	wantChaos(t, p, "make chaos", "200 flows at a time")
	wantChaos(t, p, "go run ./test/chaos -carrier h2", "over h2", "calm")
}

func (p *Page) readTunnelStack(t *testing.T) {
	wantText(t, p.reader.Type(t, "make --dry-run bench-tun"), "go run ./test/tunbench")
	p.Skip(t, "make bench-tun", "it measures for minutes")
}

// wantStep passes a command that takes as long as a step of CI, which runs just this.
func wantStep(t *testing.T, p *Page, command string) {
	t.Helper()
	wantText(t, readPage(t, ".ci/run"), "() {\n\t"+command+"\n}")
	p.Skip(t, command, "a step of CI runs it")
}

// wantChaos waits until it has said these texts, and not for the end, which takes two minutes: CI has a
// shorter one.
func wantChaos(t *testing.T, p *Page, command string, texts ...string) {
	t.Helper()
	chaos := p.Stay(t, command)
	chaos.Wait(t, texts...)
	chaos.Interrupt(t)
}

func wantText(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("there is no %q in\n%s", want, text)
	}
}

// wantEnd wants a job to end as the user expects it after Ctrl-C.
func wantEnd(t *testing.T, j *Job) {
	t.Helper()
	if status := j.Interrupt(t); status != 0 {
		t.Errorf("%s\nends with status %d after Ctrl-C, want 0", j.commands, status)
	}
}

// wantPage wants curl to show a page of the web, which was reached through the server.
func wantPage(t *testing.T, said, name string) {
	t.Helper()
	wantText(t, said, name+" through the tunnel")
}
