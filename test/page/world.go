package main

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
	"github.com/outline-cli-ws/outline-cli-ws/internal/status"
)

const token = "token-of-the-page-test"

// names are those of the upstreams; one of them is an attack.
var names = []string{"amsterdam", "berlin", `<img src=x onerror="alert(1)">/../?#`}

// world plays the program.
type world struct {
	started time.Time

	mu        sync.Mutex
	down      map[string]time.Time // since when
	preferred string
	drained   map[string]bool
	current   string
	decisions []report.Decision
	reloads   report.Reload
	calls     []string // that changed something
}

var (
	_ status.Source  = (*world)(nil)
	_ status.Control = (*world)(nil)
)

func newWorld(now time.Time) *world {
	w := &world{
		started: now, down: make(map[string]time.Time), drained: make(map[string]bool),
		reloads: report.Reload{OK: 3, Failed: 1, At: now, Err: "config.yaml:7: dns: unknown key"},
	}
	w.decide(now, "first")
	return w
}

// decide makes the preferred one current, or the first that is left. The caller holds mu.
func (w *world) decide(now time.Time, reason string) {
	best := w.current
	for _, name := range append([]string{w.preferred}, names...) {
		if slices.Contains(names, name) && w.down[name].IsZero() && !w.drained[name] {
			best = name
			break
		}
	}
	if best == w.current {
		return
	}
	for _, proto := range []string{"tcp", "udp"} {
		w.decisions = append(w.decisions, report.Decision{
			At: now, Proto: proto, Reason: reason,
			From: w.current, FromScore: 0.120, To: best, ToScore: 0.043,
		})
	}
	w.current = best
}

// Report makes figures up that move with the time.
func (w *world) Report() report.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	r := report.Report{
		At: now, Version: "v1.2.3-test", Started: w.started.Add(-26 * time.Hour),
		Ready: len(w.down) < len(names),
		Listeners: []report.Listener{
			{Kind: "socks5", Addr: "127.0.0.1:1080"}, {Kind: "status", Addr: "127.0.0.1:9101"},
		},
		Flows:     []report.Flows{{Proto: "tcp", Open: 12, Total: 3456}, {Proto: "udp", Open: 3, Total: 789}},
		Decisions: slices.Clone(w.decisions),
		Reload:    w.reloads,
	}
	for i, name := range names {
		days := time.Duration(i*40+9) * 24 * time.Hour
		u := report.Upstream{Name: name, Weight: 1, CertificateExpires: now.Add(days)}
		for _, proto := range []string{"tcp", "udp"} {
			u.Paths = append(u.Paths, w.path(name, proto, float64(i+1), now))
		}
		r.Upstreams = append(r.Upstreams, u)
	}
	return r
}

func (w *world) path(name, proto string, n float64, now time.Time) report.Path {
	age := now.Sub(w.started).Seconds()
	p := report.Path{
		Proto: proto, State: "up", Usable: true, Current: name == w.current, Preferred: name == w.preferred,
		Drained: w.drained[name], RTT: report.Seconds(0.03 * n * (1 + 0.2*math.Sin(age))), Stale: 0.001,
		LastProbe: now.Add(-time.Duration(n) * time.Second), Carrier: "h2", Standby: 1,
		Selected: uint64(100 * n), Failures: map[string]uint64{"timeout": uint64(n), "refused": 1},
	}
	if p.Current {
		p.Flows = 12
		p.Traffic.BytesIn = uint64(1e9 + 4e6*(age+math.Sin(age)))
		p.Traffic.BytesOut = uint64(1e8 + 2e5*age)
	}
	if since := w.down[name]; !since.IsZero() {
		p.State, p.Usable, p.Penalty = "down", false, 0.5
		p.LastError, p.LastErrorAt = "h2 connect: dial tcp 192.0.2.1:443: connection refused", since
	}
	p.Score = p.RTT + p.Penalty + p.Stale
	return p
}

// do carries out a call.
func (w *world) do(action, name string, change func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, action+" "+name)
	if name != "" && !slices.Contains(names, name) {
		return status.ErrUnknown
	}
	change()
	return nil
}

// Select prefers an upstream.
func (w *world) Select(name string) error {
	return w.do("select", name, func() {
		w.preferred = name
		w.decide(time.Now(), "selected")
	})
}

// Drain takes an upstream out.
func (w *world) Drain(name string) error {
	return w.do("drain", name, func() {
		w.drained[name] = true
		w.decide(time.Now(), "drained")
	})
}

// Enable takes back Select and Drain.
func (w *world) Enable(name string) error {
	return w.do("enable", name, func() {
		delete(w.drained, name)
		if w.preferred == name {
			w.preferred = ""
		}
		w.decide(time.Now(), "better")
	})
}

// Probe cannot be done to one that is down.
func (w *world) Probe(name string) error {
	err := w.do("probe", name, func() {})
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && !w.down[name].IsZero() {
		return fmt.Errorf("%w: it was probed just now", status.ErrConflict)
	}
	return err
}

// Reload counts.
func (w *world) Reload() error {
	return w.do("reload", "", func() {
		w.reloads = report.Reload{OK: w.reloads.OK + 1, Failed: 1, At: time.Now()}
	})
}

// control is what the script changes the world with, and sees what the page has done to it.
func (w *world) control() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /down/{name}", func(_ http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.down[r.PathValue("name")] = time.Now()
		w.decide(time.Now(), "down")
	})
	mux.HandleFunc("GET /calls", func(answer http.ResponseWriter, _ *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, call := range w.calls {
			_, _ = fmt.Fprintln(answer, call)
		}
	})
	return mux
}
