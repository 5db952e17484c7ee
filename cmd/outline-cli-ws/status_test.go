package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
	"github.com/outline-cli-ws/outline-cli-ws/internal/status"
)

// source is a program that says this of itself.
type source report.Report

func (s source) Report() report.Report { return report.Report(s) }

var statusTime = time.Date(2030, 5, 6, 14, 3, 22, 0, time.Local)

// example has something in every place.
func example() report.Report {
	ago := func(d time.Duration) time.Time { return statusTime.Add(-d) }
	return report.Report{
		At: statusTime, Started: ago(26 * time.Hour), Version: "v1.2.3", Ready: true,
		Flows: []report.Flows{{Proto: "tcp", Open: 12, Total: 3456}, {Proto: "udp", Open: 3, Total: 789}},
		Upstreams: []report.Upstream{
			{Name: "amsterdam", Weight: 1, Paths: []report.Path{
				{
					Proto: "tcp", State: "up", Usable: true, Current: true, Preferred: true,
					Score: 0.026, RTT: 0.025, Stale: 0.001, LastProbe: ago(3 * time.Second),
					Carrier: "h2", Standby: 2, Flows: 12,
					Traffic: report.Traffic{BytesIn: 1_250_000_000, BytesOut: 98_000},
				},
				{Proto: "udp", State: "unknown", Usable: true},
			}},
			{Name: strings.Repeat("long-name-", 5), Weight: 1, Paths: []report.Path{
				{
					Proto: "tcp", State: "up", CoolUntil: statusTime.Add(12 * time.Second),
					Score: 0.5, RTT: 0.0042, Penalty: 0.4958, LastProbe: ago(5 * time.Minute), Carrier: "h1",
					LastError: "h1 connect: \x1b[31mrefused", LastErrorAt: ago(time.Second),
				},
				{Proto: "udp", State: "up", Drained: true},
			}},
		},
		Decisions: []report.Decision{
			{At: ago(72 * time.Hour), Proto: "tcp", To: "berlin", ToScore: 0.1, Reason: "first"},
			{
				At: ago(90 * time.Second), Proto: "tcp", From: "berlin", FromScore: 0.12, To: "amsterdam",
				ToScore: 0.026, Reason: "selected",
			},
		},
		Reload: report.Reload{OK: 2, Failed: 1, At: ago(time.Hour), Err: "config.yaml:1: unknown key"},
	}
}

// wantTable is what the example looks like.
func wantTable(t *testing.T, addr string) string {
	t.Helper()
	golden, err := os.ReadFile("testdata/status.golden")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(golden), "ADDR", addr, 1)
}

// statusOf runs the command.
func statusOf(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(append([]string{"status"}, args...), &out, &err)
	return code, out.String(), err.String()
}

// serveStatus answers with r, and returns the address.
func serveStatus(t *testing.T, r report.Report) string {
	t.Helper()
	s := httptest.NewServer(status.Handler(status.Options{Source: source(r)}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestStatusTable(t *testing.T) {
	addr := serveStatus(t, example())
	code, stdout, stderr := statusOf(t, "-addr", addr)
	if code != exitOK || stderr != "" {
		t.Errorf("exit status %d, %s", code, stderr)
	}
	if diff := cmp.Diff(wantTable(t, addr), stdout); diff != "" {
		t.Error(diff)
	}
}

func TestStatusJSON(t *testing.T) {
	code, stdout, _ := statusOf(t, "-json", "-addr", serveStatus(t, example()))
	var got report.Report
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitOK {
		t.Fatalf("exit status %d, %v", code, err)
	}
	if diff := cmp.Diff(example(), got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(stdout, "\n  \"version\": \"v1.2.3\",\n") {
		t.Errorf("not indented: %s", stdout)
	}
}

func TestStatusOverUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	s := httptest.NewUnstartedServer(status.Handler(status.Options{Source: source(example())}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	if code, stdout, stderr := statusOf(t, "-addr", "unix:"+path); code != exitOK {
		t.Errorf("exit status %d: %s%s", code, stdout, stderr)
	}
}

func TestStatusExitCodes(t *testing.T) {
	ready, folder := serveStatus(t, example()), t.TempDir()
	notReady := serveStatus(t, report.Report{At: statusTime, Version: "v1"})
	strange := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "{}")
	}))
	defer strange.Close()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"error":"no \u001b[1m","fix":"do this"}`)
	}))
	defer refuses.Close()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		text += "\nupstreams: [{tcp_wss: 'wss://a.example/p', cipher: aes-256-gcm, secret: s}]\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const off = "status: {enable: false, listen: '"
	for _, tt := range []struct {
		name string
		args []string
		want int
		says string
	}{
		{"ready", []string{"-addr", ready}, exitOK, "is ready"},
		{"ready, by file", []string{"-c", file("a", "status: {listen: '"+ready+"'}")}, exitOK, "is ready"},
		{"not ready", []string{"-addr", notReady}, exitFailed, "NOT READY"},
		{"not ready, JSON", []string{"-json", "-addr", notReady}, exitFailed, `"ready": false`},
		{"nobody", []string{"-addr", "127.0.0.1:1"}, exitFailed, "no status from 127.0.0.1:1: "},
		{"no socket", []string{"-addr", "unix:" + folder + "/none"}, exitFailed, "no status from unix:"},
		{"somebody else", []string{"-addr", host(strange)}, exitFailed, "is not this program"},
		{"refusal", []string{"-addr", host(refuses)}, exitFailed, "no \ufffd[1m; do this"},
		{"no address", []string{"-addr", "localhost"}, exitUsage, "is no address like 127.0.0.1:9101"},
		{"any port", []string{"-c", file("b", "status: {listen: '[::1]:0'}")}, exitUsage, "with -addr"},
		{"off", []string{"-c", file("c", off+"127.0.0.1:1'}")}, exitFailed, "set status.enable: true"},
		{"on by a flag", []string{"-c", file("e", off+ready+"'}")}, exitOK, "is ready"},
		{"mistakes", []string{"-c", file("d", "status: {listen: 5}")}, exitUsage, "needs no file"},
		{"no file", []string{"-c", folder + "/none.yaml"}, exitUsage, "none.yaml"},
		{"unknown flag", []string{"-x"}, exitUsage, "not defined: -x"},
		{"stray argument", []string{"now"}, exitUsage, `unexpected argument "now"`},
		{"help", []string{"-h"}, exitOK, "-watch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := statusOf(t, tt.args...)
			if code != tt.want || !strings.Contains(stdout+stderr, tt.says) {
				t.Errorf("exit status %d, want %d with %q:\n%s%s", code, tt.want, tt.says, stdout, stderr)
			}
		})
	}
}

func host(s *httptest.Server) string { return s.Listener.Addr().String() }

// TestStatusToken sends the token of the file where the file says, and that of the environment elsewhere.
func TestStatusToken(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		_ = json.NewEncoder(w).Encode(example())
	}))
	defer s.Close()
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := "status: {listen: '" + host(s) + "', token: token-of-the-file}\n" +
		"upstreams: [{tcp_wss: 'wss://a.example/p', cipher: aes-256-gcm, secret: s}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(tokenVariable, "token-of-the-environment")
	statusOf(t, "-c", path)
	if want := "Bearer token-of-the-file"; got != want {
		t.Errorf("with the file: %q, want %q", got, want)
	}
	statusOf(t, "-c", path, "-addr", host(s))
	if want := "Bearer token-of-the-environment"; got != want {
		t.Errorf("with -addr: %q, want %q", got, want)
	}
	t.Setenv(tokenVariable, "")
	statusOf(t, "-addr", host(s))
	if got != "" {
		t.Errorf("without: %q", got)
	}
}

func TestStatusAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		":9101": "127.0.0.1:9101", "0.0.0.0:9101": "127.0.0.1:9101", "[::]:9101": "[::1]:9101",
		"192.0.2.1:80": "192.0.2.1:80", "localhost:1": "localhost:1", "unix:/run/s": "localhost",
	} {
		c, err := newStatusClient(addr, "")
		if err != nil || c.host != want {
			t.Errorf("%s: %v, %v, want %s", addr, c, err, want)
		}
	}
}

// answers is what the program says, one after the other; nil is no answer.
type answers struct {
	t       *testing.T
	reports []*report.Report
	end     context.CancelFunc // called when there is no more
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(a.reports) == 0 {
		a.end()
		return nil, context.Canceled
	}
	next := a.reports[0]
	a.reports = a.reports[1:]
	if next == nil {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	if err := json.NewEncoder(w).Encode(next); err != nil {
		a.t.Error(err)
	}
	return w.Result(), nil
}

// watching looks at reports of 14:03:22 and :24, gets no answer, and then comes the end.
func watching(t *testing.T, show func(io.Writer, []byte, sight) error) (code int, stdout, stderr string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		one, two := example(), example()
		two.At = two.At.Add(2 * time.Second)
		two.Upstreams[0].Paths[0].Traffic.BytesIn += 3_000_000
		var out, complaints bytes.Buffer
		v := &statusView{
			client: &statusClient{addr: "ADDR", host: "localhost"},
			show:   show, stdout: &out, stderr: &complaints,
		}
		v.client.http.Transport = &answers{t, []*report.Report{&one, &two, nil}, cancel}
		began := time.Now()
		code = v.watch(ctx)
		if took := time.Since(began); took != 3*watchPeriod {
			t.Errorf("four looks took %s, want %s", took, 3*watchPeriod)
		}
		stdout, stderr = out.String(), complaints.String()
	})
	return code, stdout, stderr
}

func TestStatusWatch(t *testing.T) {
	code, stdout, stderr := watching(t, showScreen)
	if code != exitFailed {
		t.Errorf("exit status %d, want that of the last look, %d", code, exitFailed)
	}
	screens := strings.Split(stdout, clearScreen)
	if len(screens) != 3 || screens[1] != wantTable(t, "ADDR") {
		t.Fatalf("%d screens:\n%s", len(screens)-1, stdout)
	}
	if !strings.Contains(screens[2], "IN/S   OUT/S\n") || !strings.Contains(screens[2], "  1.5MB  0B\n") {
		t.Errorf("no rates:\n%s", screens[2])
	}
	if want := "no status from ADDR: connection refused (the last answer is of 14:03:24)\n"; stderr != want {
		t.Errorf("%q, want %q", stderr, want)
	}
}

func TestStatusWatchJSON(t *testing.T) {
	_, stdout, _ := watching(t, showLine)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2", len(lines))
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func TestAmountsAndAges(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0B", 999: "999B", 999.7: "1.0kB", 12_345: "12kB", 1e6: "1.0MB",
		2.5e9: "2.5GB", 7e12: "7.0TB", 2e15: "2000.0TB",
	} {
		if got := amount(n); got != want {
			t.Errorf("amount(%v) = %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m", time.Hour: "1h",
		47 * time.Hour: "47h", 48 * time.Hour: "2d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %s, want %s", d, got, want)
		}
	}
}
