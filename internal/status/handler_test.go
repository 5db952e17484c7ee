package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdef"

// program is a Source and a Control.
type program struct {
	mu     sync.Mutex
	report report.Report
	taken  int
	calls  []string
	err    error // of every call
}

var (
	_ Source  = (*program)(nil)
	_ Control = (*program)(nil)
)

func (p *program) Report() report.Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken++
	return p.report
}

func (p *program) call(words ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, strings.Join(words, " "))
	return p.err
}

func (p *program) Select(name string) error { return p.call("select", name) }
func (p *program) Drain(name string) error  { return p.call("drain", name) }
func (p *program) Enable(name string) error { return p.call("enable", name) }
func (p *program) Probe(name string) error  { return p.call("probe", name) }
func (p *program) Reload() error            { return p.call("reload") }

// request is one that a program on this machine sends with the token, as far as the test leaves it so.
type request struct {
	method, path, host, client, auth string
	header                           http.Header
	body                             string
}

func (q request) send(h http.Handler) *httptest.ResponseRecorder {
	r := httptest.NewRequest(orElse(q.method, "GET"), q.path, strings.NewReader(q.body))
	r.Host = orElse(q.host, "127.0.0.1:9101")
	r.RemoteAddr = orElse(q.client, "127.0.0.1:40000")
	if q.auth != "none" {
		r.Header.Set("Authorization", orElse(q.auth, "Bearer "+token))
	}
	for key, values := range q.header {
		r.Header[key] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func newHandler(p *program) http.Handler {
	return Handler(Options{
		Source: p, Control: p, Token: token, Hosts: []string{"router.lan"},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			writeText(w, 200, "metrics\n")
		}),
	})
}

func TestWhatIsShown(t *testing.T) {
	p := &program{report: report.Report{Version: "v1", Ready: true}}
	h := newHandler(p)
	for _, tt := range []struct {
		method, path string
		status       int
		kind, body   string
	}{
		{"GET", "/healthz", 200, "text/plain; charset=utf-8", "ok\n"},
		{"HEAD", "/healthz", 200, "text/plain; charset=utf-8", ""},
		{"GET", "/readyz", 200, "text/plain; charset=utf-8", "ready\n"},
		{"GET", "/api/v1/status", 200, "application/json", `"version":"v1"`},
		{"GET", "/metrics", 200, "text/plain; charset=utf-8", "metrics\n"},
		{"GET", "/nothing", 404, "application/json", "there is nothing here"},
		{"GET", "/api/v1/", 404, "application/json", "there is nothing here"},
		{"POST", "/api/v1/status", 405, "application/json", "wrong method"},
		{"DELETE", "/healthz", 405, "application/json", "wrong method"},
		{"GET", "/api/v1/reload", 405, "application/json", "wrong method"},
		{"OPTIONS", "/api/v1/upstreams/a/select", 405, "application/json", "wrong method"},
	} {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			w := request{method: tt.method, path: tt.path}.send(h)
			body, kind := w.Body.String(), w.Header().Get("Content-Type")
			if w.Code != tt.status || kind != tt.kind || !strings.Contains(body, tt.body) {
				t.Errorf("%d %s %s, want %d %s %s", w.Code, kind, body, tt.status, tt.kind, tt.body)
			}
			if w.Code == 405 && w.Header().Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			checkHeaders(t, w.Header())
		})
	}
}

// checkHeaders looks for what every answer has, and for what none may have.
func checkHeaders(t *testing.T, h http.Header) {
	t.Helper()
	for key := range h {
		if strings.HasPrefix(key, "Access-Control-") {
			t.Errorf("%s lets other origins in", key)
		}
	}
	for _, key := range []string{
		"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy",
		"Cross-Origin-Resource-Policy",
	} {
		if h.Get(key) == "" {
			t.Errorf("no %s", key)
		}
	}
	if got := h.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %s", got)
	}
}

func TestNotReady(t *testing.T) {
	w := request{path: "/readyz", host: "10-0-0-7.pods.example", client: "10.0.0.1:5", auth: "none"}.send(
		newHandler(new(program)))
	if w.Code != 503 || w.Body.String() != "not ready: no upstream can be used\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWhatCanBeChanged(t *testing.T) {
	for _, tt := range []struct {
		path   string
		err    error
		status int
		call   string
		answer string
	}{
		{"/api/v1/upstreams/a/select", nil, 204, "select a", ""},
		{"/api/v1/upstreams/a/drain", nil, 204, "drain a", ""},
		{"/api/v1/upstreams/a/enable", nil, 204, "enable a", ""},
		{"/api/v1/upstreams/a/probe", nil, 204, "probe a", ""},
		{"/api/v1/upstreams/by%20address%2F%3Cb%3E/probe", nil, 204, "probe by address/<b>", ""},
		{"/api/v1/reload", nil, 204, "reload", ""},
		{
			"/api/v1/upstreams/a/select", ErrUnknown, 404, "select a",
			`{"error":"no upstream of that name","fix":"the names are those of /api/v1/status"}`,
		},
		{
			"/api/v1/upstreams/a/drain", fmt.Errorf("drain: %w", ErrConflict), 409, "drain a",
			`{"error":"drain: not possible now"}`,
		},
		{
			"/api/v1/upstreams/a/drain", errors.New("odd"), 500, "drain a",
			`{"error":"odd","fix":"see the log"}`,
		},
		{
			"/api/v1/upstreams/a/explode", nil, 404, "",
			`{"error":"no such action","fix":"there are select, drain, enable and probe"}`,
		},
		{"/api/v1/upstreams//select", nil, 404, "", ""},
		{
			"/api/v1/reload", errors.New("c.yaml:1: x"), 422, "reload",
			`{"error":"c.yaml:1: x","fix":"correct the file; until then the configuration in force stays"}`,
		},
		{"/api/v1/reload", ErrConflict, 409, "reload", `{"error":"not possible now"}`},
	} {
		t.Run(fmt.Sprint(tt.path, tt.err), func(t *testing.T) {
			p := &program{err: tt.err}
			w := request{method: "POST", path: tt.path}.send(newHandler(p))
			if got := strings.Join(p.calls, ", "); got != tt.call {
				t.Errorf("calls %q, want %q", got, tt.call)
			}
			if w.Code == 307 || w.Code == 301 { // the path had an empty name
				return
			}
			if w.Code != tt.status || strings.TrimSpace(w.Body.String()) != tt.answer {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, tt.status, tt.answer)
			}
		})
	}
}

// TestBodies has no body be read, and none be taken that a form could send.
func TestBodies(t *testing.T) {
	for kind, want := range map[string]int{
		"application/json": 204, "application/json; charset=utf-8": 204, "text/plain": 415, "": 415,
		"application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415,
	} {
		p := new(program)
		w := request{
			method: "POST", path: "/api/v1/reload", body: "{}", header: http.Header{"Content-Type": {kind}},
		}.send(newHandler(p))
		if w.Code != want || len(p.calls) > 0 != (want == 204) {
			t.Errorf("%q: %d and calls %q, want %d", kind, w.Code, p.calls, want)
		}
	}
}

func TestReadOnly(t *testing.T) {
	p := new(program)
	for name, h := range map[string]http.Handler{
		"no token":   Handler(Options{Source: p, Control: p}),
		"no control": Handler(Options{Source: p, Token: token}),
	} {
		w := request{method: "POST", path: "/api/v1/upstreams/a/select"}.send(h)
		if w.Code != 403 || !strings.Contains(w.Body.String(), "set status.token") || len(p.calls) > 0 {
			t.Errorf("%s: %d %s, calls %q", name, w.Code, w.Body, p.calls)
		}
	}
}

// TestManyRequestsShareReports is what keeps a flood from costing flows anything.
func TestManyRequestsShareReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &program{report: report.Report{Version: "one"}}
		h := newHandler(p)
		for range 10_000 {
			if w := (request{path: "/api/v1/status"}).send(h); w.Code != 200 {
				t.Fatal(w.Code)
			}
		}
		if p.taken != 1 {
			t.Errorf("%d reports for 10000 requests at once, want 1", p.taken)
		}
		p.report.Version = "two"
		time.Sleep(maxAge)
		if w := (request{path: "/api/v1/status"}).send(h); !strings.Contains(w.Body.String(), "two") {
			t.Errorf("after %s still %s", maxAge, w.Body)
		}
		p.report.Version = "three"
		if w := (request{method: "POST", path: "/api/v1/upstreams/a/select"}).send(h); w.Code != 204 {
			t.Fatal(w.Code)
		}
		if w := (request{path: "/api/v1/status"}).send(h); !strings.Contains(w.Body.String(), "three") {
			t.Errorf("after a change still %s", w.Body)
		}
	})
}

func TestReportThatCannotBeSent(t *testing.T) {
	p := &program{report: report.Report{Upstreams: []report.Upstream{{Weight: math.Inf(1)}}}}
	h := newHandler(p)
	if w := (request{path: "/api/v1/status"}).send(h); w.Code != 500 || !json.Valid(w.Body.Bytes()) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := (request{path: "/readyz"}).send(h); w.Code != 503 {
		t.Errorf("readyz: %d", w.Code)
	}
}

type panicky struct{ *program }

func (panicky) Report() report.Report { panic("no report") }

func TestPanicIsLogged(t *testing.T) {
	var log strings.Builder
	h := Handler(Options{Source: panicky{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	func() {
		defer func() {
			if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("panic with %v, want ErrAbortHandler", err)
			}
		}()
		request{path: "/readyz"}.send(h)
	}()
	if !strings.Contains(log.String(), "no report") {
		t.Errorf("log: %s", log.String())
	}
}

// TestChangesAreLogged, and the token is not.
func TestChangesAreLogged(t *testing.T) {
	var log strings.Builder
	p := new(program)
	h := Handler(Options{
		Source: p, Control: p, Token: token,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	request{method: "POST", path: "/api/v1/upstreams/a/drain"}.send(h)
	request{method: "POST", path: "/api/v1/reload", auth: "Bearer wrong-" + token}.send(h)
	for _, want := range []string{
		"action=drain upstream=a client=127.0.0.1:40000", `reason="the token is wrong"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, log.String())
		}
	}
	if strings.Contains(log.String(), token) {
		t.Errorf("the token is in %s", log.String())
	}
	if !slices.Equal(p.calls, []string{"drain a"}) {
		t.Errorf("calls %q", p.calls)
	}
}
