//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

const (
	liveToken = "token-of-the-live-test"
	// shownWithin is how soon after its end everybody can see that an upstream is down.
	shownWithin = 3 * time.Second
)

// live is the program in front of two servers, with a status.
type live struct {
	*process
	servers       map[string]*outlinetest.Server
	socks, status string // addresses
}

func startLive(t *testing.T) *live {
	t.Helper()
	web, err := outlinetest.StartHTTP("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { web.Close() })
	l := &live{servers: make(map[string]*outlinetest.Server)}
	var text strings.Builder
	fmt.Fprintf(&text, "listen: {socks5: '127.0.0.1:0'}\nlog: {format: text}\nprobe: {tcp_target: %q}\n"+
		"status: {listen: '127.0.0.1:0', token: %s}\nupstreams:\n", web.Addr(), liveToken)
	for _, name := range []string{"amsterdam", "berlin"} {
		s, err := outlinetest.Start(outlinetest.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		ca, err := s.WriteCA(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		l.servers[name] = s
		fmt.Fprintf(&text, "- {name: %s, tcp_wss: %q, cipher: %s, secret: %s, tls: {ca_file: %q}}\n",
			name, s.StreamURL(), s.Cipher(), s.Secret(), ca)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	l.process = &process{cmd: program(t, "-c", path), config: path}
	l.run(t)
	_, l.socks, _ = strings.Cut(l.wait(t, "inbound=socks5"), "addr=")
	_, l.status, _ = strings.Cut(l.wait(t, "inbound=status"), "addr=")
	go func() { // the log must not fill its pipe; it ends with the process
		for l.lines.Scan() {
		}
	}()
	return l
}

// report is what the API says.
func (l *live) report(t *testing.T) (r report.Report) {
	t.Helper()
	resp, err := http.Get("http://" + l.status + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// path is the TCP path of an upstream.
func (l *live) path(t *testing.T, name string) report.Path {
	t.Helper()
	for _, u := range l.report(t).Upstreams {
		if u.Name == name {
			return u.Paths[0]
		}
	}
	t.Fatalf("no upstream %s", name)
	return report.Path{}
}

// until asks until something is so, and returns how long that took.
func until(t *testing.T, what string, isSo func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !isSo() {
		if time.Since(began) > patience {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-tick.C
	}
	return time.Since(began)
}

// post makes a call that changes something.
func (l *live) post(t *testing.T, call string, header ...string) (status int, body string) {
	t.Helper()
	target := "http://" + l.status + "/api/v1/" + call
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+liveToken)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if name := req.Header.Get("Host"); name != "" {
		req.Host = name
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// change makes a call that must succeed.
func (l *live) change(t *testing.T, call string) {
	t.Helper()
	if code, body := l.post(t, call); code != http.StatusNoContent {
		t.Errorf("%s: %d %s", call, code, body)
	}
}

// bothUp waits until both servers are in full use, and returns the names, the current one first.
func (l *live) bothUp(t *testing.T) (current, other string) {
	t.Helper()
	for _, name := range []string{"amsterdam", "berlin"} {
		until(t, name+" is up", func() bool { p := l.path(t, name); return p.State == "up" && p.Standby > 0 })
	}
	if l.path(t, "berlin").Current {
		return "berlin", "amsterdam"
	}
	return "amsterdam", "berlin"
}

// checkCommand runs the command in a terminal.
func (l *live) checkCommand(t *testing.T, want int, says ...string) {
	t.Helper()
	code, stdout, stderr := statusOf(t, "-addr", l.status)
	if code != want {
		t.Errorf("the command has exit status %d, want %d", code, want)
	}
	for _, text := range says {
		if !strings.Contains(stdout, text) {
			t.Errorf("the command does not say %q:\n%s%s", text, stdout, stderr)
		}
	}
}

// TestKilledUpstreamIsShown has the current upstream die while nobody uses the program.
func TestKilledUpstreamIsShown(t *testing.T) {
	l := startLive(t)
	victim, other := l.bothUp(t)
	l.checkCommand(t, exitOK, "is ready")
	until(t, "no probe was lately", func() bool {
		return time.Since(l.path(t, victim).LastProbe) > time.Second
	})
	if err := l.servers[victim].Close(); err != nil {
		t.Fatal(err)
	}
	took := until(t, victim+" is down and "+other+" is current", func() bool {
		return l.path(t, victim).State == "down" && l.path(t, other).Current
	})
	if t.Logf("down, with its reason, after %s", took); took > shownWithin {
		t.Errorf("the API shows it after %s, want %s", took, shownWithin)
	}
	if p := l.path(t, victim); !strings.Contains(p.LastError, "connection refused") || p.Usable {
		t.Errorf("usable %t, last error %q", p.Usable, p.LastError)
	}
	decisions := l.report(t).Decisions
	if d := decisions[len(decisions)-1]; d.From != victim || d.To != other || d.Reason == "better" {
		t.Errorf("the last switch is %+v", d)
	}
	l.checkCommand(t, exitOK, "down", victim+" tcp: ", "connection refused", "tcp "+victim+" -> "+other)
	if err := l.servers[other].Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the program is not ready", func() bool { return !l.report(t).Ready })
	l.checkCommand(t, exitFailed, "NOT READY")
}

// TestForeignersChangeNothing has pages of other origins try, and those who do not know the token.
func TestForeignersChangeNothing(t *testing.T) {
	l := startLive(t)
	_, other := l.bothUp(t)
	upstream := "upstreams/" + other
	for _, attack := range [][]string{
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
		{"Host", "evil.example"},
		{"Host", "evil.example", "Origin", "http://evil.example"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Authorization", "Bearer guess"},
		{"Authorization", ""},
	} {
		for _, call := range []string{upstream + "/select", upstream + "/drain", "reload"} {
			if code, body := l.post(t, call, attack...); code != 401 && code != 403 {
				t.Errorf("%s with %v: %d %s", call, attack, code, body)
			}
		}
	}
	if p := l.path(t, other); p.Preferred || p.Drained || l.report(t).Reload.OK > 0 {
		t.Errorf("something was changed: %+v", p)
	}
}

func TestChangesOverHTTP(t *testing.T) {
	l := startLive(t)
	current, other := l.bothUp(t)
	for _, name := range []string{other, current} {
		l.change(t, "upstreams/"+name+"/select")
		until(t, name+" is preferred", func() bool { p := l.path(t, name); return p.Current && p.Preferred })
		l.change(t, "upstreams/"+name+"/probe")
		l.change(t, "upstreams/"+name+"/drain")
		until(t, name+" is drained", func() bool { p := l.path(t, name); return !p.Current && p.Drained })
		l.change(t, "upstreams/"+name+"/enable")
		if p := l.path(t, name); p.Drained || p.Preferred {
			t.Errorf("enabled, and still %+v", p)
		}
	}
	if code, _ := l.post(t, "upstreams/paris/select"); code != http.StatusNotFound {
		t.Errorf("an upstream that there is not: %d", code)
	}
}

func TestReloadOverHTTP(t *testing.T) {
	l := startLive(t)
	l.change(t, "reload")
	if r := l.report(t).Reload; r.OK != 1 || r.Failed != 0 {
		t.Errorf("reloads: %+v", r)
	}
	text, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.config, append(text, "wieght: 1\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	code, body := l.post(t, "reload")
	if code != http.StatusUnprocessableEntity || !strings.Contains(body, "wieght: unknown key") {
		t.Errorf("reload of a mistake: %d %s", code, body)
	}
	if r := l.report(t).Reload; r.OK != 1 || r.Failed != 1 || !strings.Contains(r.Err, "wieght") {
		t.Errorf("reloads: %+v", r)
	}
}

// TestFloodOfRequests sends 10,000 requests, 4000 a second, while a flow goes to and fro, and compares its
// round trips with those before. On an idle machine they are the same to a tenth, and the log has the
// figures; the limit is one that the race detector on a busy machine keeps too.
func TestFloodOfRequests(t *testing.T) {
	const requests, clients, trips = 10_000, 8, 1000
	l := startLive(t)
	target, err := outlinetest.StartEcho("")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	conn := connect(t, l.socks, target.Addr())
	trip := func() time.Duration {
		began := time.Now()
		if _, err := conn.Write([]byte("word")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, len("word"))); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	var before, during []time.Duration
	for range trips {
		before = append(before, trip())
	}
	flood := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(flood)
		var all sync.WaitGroup
		for range clients {
			all.Go(func() { ask(t, l.status, requests/clients) })
		}
		all.Wait()
	}()
	for flooding := true; flooding; {
		during = append(during, trip())
		select {
		case <-flood:
			flooding = false
		default:
		}
	}
	took := time.Since(began)
	middle, worst := quantiles(before)
	middleThen, worstThen := quantiles(during)
	t.Logf("%d requests in %s; round trip %s (99 %%: %s) before, %s (99 %%: %s) meanwhile", requests,
		took.Round(time.Millisecond), middle, worst, middleThen, worstThen)
	if limit := 10*middle + 50*time.Millisecond; middleThen > limit {
		t.Errorf("a round trip takes %s under the flood, want %s at most", middleThen, limit)
	}
}

// ask sends n requests for the report, one every 2 ms.
func ask(t *testing.T, addr string, n int) {
	client := http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range n {
		<-tick.C
		resp, err := client.Get("http://" + addr + "/api/v1/status")
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, bufio.NewReader(resp.Body))
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
			return
		}
	}
}

// quantiles returns the one in the middle, and that which 99 of 100 are below.
func quantiles(d []time.Duration) (middle, worst time.Duration) {
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100]
}
