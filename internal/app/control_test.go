package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

const testToken = "0123456789abcdef"

// listenerAddr is where the program listens for something.
func listenerAddr(t *testing.T, a *App, kind string) (addr string) {
	t.Helper()
	waitFor(t, kind+" listener", func() bool {
		for _, l := range a.Report().Listeners {
			if l.Kind == kind {
				addr = l.Addr
			}
		}
		return addr != ""
	})
	return addr
}

// statusAddr is where the program answers.
func statusAddr(t *testing.T, a *App) string {
	t.Helper()
	return listenerAddr(t, a, kindStatus)
}

// post makes a call that changes something, and returns the answer's status and body.
func post(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Authorization", "Bearer "+testToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

const statusKeys = `status: {listen: "127.0.0.1:0", token: ` + testToken + `}`

func TestStatusCallsDriveTheBalancer(t *testing.T) {
	p := startPair(t, "connect=1", statusKeys)
	addr := statusAddr(t, p.app)
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	used := func(upstream int) uint64 {
		before := p.app.Report().Upstreams[upstream].Paths[0].Selected
		ask(t, connect(t, p.client, echo.Addr()), "which way?")
		return p.app.Report().Upstreams[upstream].Paths[0].Selected - before
	}
	for _, call := range []struct {
		path   string
		status int
		over   int // the upstream that flows go over then
	}{
		{"/api/v1/upstreams/second/select", http.StatusNoContent, 1},
		{"/api/v1/upstreams/second/drain", http.StatusNoContent, 0},
		{"/api/v1/upstreams/first/drain", http.StatusConflict, 0},
		{"/api/v1/upstreams/nobody/select", http.StatusNotFound, 0},
		{"/api/v1/upstreams/nobody/probe", http.StatusNotFound, 0},
		{"/api/v1/upstreams/first/probe", http.StatusConflict, 0}, // probes are off
		{"/api/v1/reload", http.StatusConflict, 0},                // there is no file
	} {
		status, body := post(t, addr, call.path)
		if status != call.status {
			t.Errorf("POST %s = %d %s, want %d", call.path, status, body, call.status)
		}
		if used(call.over) != 1 {
			t.Errorf("after POST %s new flows do not go over upstream %d", call.path, call.over)
		}
	}
	if path := p.app.Report().Upstreams[1].Paths[0]; !path.Drained || path.Usable {
		t.Errorf("path = %+v, want it drained", path)
	}
}

// TestReloadByStatusCall moves the very listener that the call came over.
func TestReloadByStatusCall(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	rest := statusKeys + "\nupstreams:\n" + entry(t, s)
	c := startClient(t, "127.0.0.1:0", rest)
	old, next := statusAddr(t, c.app), closedPort(t)
	c.app.Load = func() (*config.Config, error) {
		return load(t, "127.0.0.1:0", strings.Replace(rest, "127.0.0.1:0", next, 1)), nil
	}
	if status, body := post(t, old, "/api/v1/reload"); status != http.StatusNoContent {
		t.Fatalf("reload = %d %s", status, body)
	}
	if got := statusAddr(t, c.app); got != next {
		t.Errorf("status at %s, want %s", got, next)
	}
	c.app.Load = func() (*config.Config, error) { return nil, fmt.Errorf("upstreams: %w", os.ErrInvalid) }
	if status, body := post(t, next, "/api/v1/reload"); status != http.StatusUnprocessableEntity ||
		!strings.Contains(body, "upstreams: ") {
		t.Errorf("bad reload = %d %s", status, body)
	}
}

func TestStatusAtAUnixSocket(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	path := filepath.Join(t.TempDir(), "status.sock")
	left, err := net.Listen("unix", path) // of a program that was killed
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = left.Close()

	c := startClient(t, "127.0.0.1:0", "status: {listen: \"unix:"+path+"\"}\nupstreams:\n"+entry(t, s))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket = %v, %v, want it for its owner alone", info, err)
	}
	var d net.Dialer
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		},
	}}
	response, err := client.Get("http://localhost/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("GET /readyz = %s", response.Status)
	}
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
}

// TestReadyWhenSomethingIsKnown looks before the first probe: nobody may be sent to a program whose servers
// perhaps do not take it.
func TestReadyWhenSomethingIsKnown(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	for _, tt := range []struct {
		name, probes string
		know         func(*health.Record)
		want         bool
	}{
		{"not probed yet", "probe: {}", func(*health.Record) {}, false},
		{"answered a flow", "probe: {}", func(r *health.Record) { r.Answered(time.Now()) }, true},
		{"never probed", "disable_probes: true", func(*health.Record) {}, true},
		{"only UDP is probed", "probe: {enable_tcp: false}", func(*health.Record) {}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := load(t, "127.0.0.1:0", tt.probes+"\nupstreams:\n"+entry(t, s))
			a, err := New(c, newLogbook().logger())
			if err != nil {
				t.Fatal(err)
			}
			tt.know(a.fleet.units[0].stream.Health)
			if got := a.Report().Ready; got != tt.want {
				t.Errorf("ready = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestReady(t *testing.T) {
	p := startPair(t, "connect=1", statusKeys)
	for _, name := range []string{"first", "second"} {
		unit := p.app.facts.Load().fleet.named(name)
		for range 2 {
			unit.stream.Health.Failure(p.app.started, balancer.ErrSilent)
		}
	}
	if p.app.Report().Ready {
		t.Error("ready although every upstream is down for TCP")
	}
}
