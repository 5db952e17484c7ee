package status

import (
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

// Source says how the program is. Report may be called concurrently.
type Source interface {
	Report() report.Report
}

// Control changes what the program does. Its methods may be called concurrently and do not wait for the
// network.
type Control interface {
	// Select prefers an upstream for new flows, over every protocol it carries, while it is usable.
	Select(name string) error
	// Drain gives an upstream no new flows; those it has go on.
	Drain(name string) error
	// Enable takes back Select and Drain.
	Enable(name string) error
	// Probe makes the next probes of an upstream due now.
	Probe(name string) error
	// Reload reads the configuration again.
	Reload() error
}

// What a Control may answer, wrapped or not.
var (
	ErrUnknown  = errors.New("no upstream of that name")
	ErrConflict = errors.New("not possible now")
)

// Options are what Handler shows and obeys.
type Options struct {
	Source  Source       // required
	Control Control      // nil: nothing can be changed
	Token   string       // "": nothing can be changed, and other hosts see nothing
	Hosts   []string     // names of this machine besides localhost, in lower case
	Metrics http.Handler // served at /metrics; may be nil
	Log     *slog.Logger // nil logs nothing
}

// api answers requests.
type api struct {
	Options
	guard    guard
	snapshot snapshot
}

// Handler serves the status API. It may serve several listeners.
func Handler(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &api{Options: o, guard: newGuard(o.Token, o.Hosts), snapshot: snapshot{source: o.Source}}
	mux := http.NewServeMux()
	mux.Handle("/{$}", get(a.page()))
	mux.Handle("/healthz", get(a.healthz))
	mux.Handle("/readyz", get(a.readyz))
	mux.Handle("/api/v1/status", get(a.see(a.status)))
	mux.Handle("/api/v1/upstreams/{name}/{action}", post(a.change(a.upstream)))
	mux.Handle("/api/v1/reload", post(a.change(a.reload)))
	if o.Metrics != nil {
		mux.Handle("/metrics", get(a.see(o.Metrics.ServeHTTP)))
	}
	mux.HandleFunc("/", notFound)
	return a.safe(mux)
}

// safe sets what every answer has, and keeps a panic from being silent.
func (a *api) safe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				a.Log.ErrorContext(r.Context(), "status call panicked",
					"reason", v, "stack", string(debug.Stack()))
				panic(http.ErrAbortHandler)
			}
		}()
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

// get lets GET and HEAD through.
func get(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			wrongMethod.write(w)
			return
		}
		next(w, r)
	})
}

// post lets POST through, without a body or with one of JSON, which no form of a web page can send.
func post(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			wrongMethod.write(w)
			return
		}
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if r.ContentLength != 0 && (err != nil || kind != jsonType) {
			wrongBody.write(w)
			return
		}
		next(w, r)
	})
}

// see lets through who may see.
func (a *api) see(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p := a.guard.see(r); p != nil {
			p.write(w)
			return
		}
		next(w, r)
	}
}

// change lets through who may change, and forgets what was seen before.
func (a *api) change(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := a.guard.change(r)
		if p == nil && a.Control == nil {
			p = readOnly
		}
		if p != nil {
			a.Log.DebugContext(r.Context(), "status call refused",
				"client", r.RemoteAddr, "reason", p.Message)
			p.write(w)
			return
		}
		defer a.snapshot.forget()
		next(w, r)
	}
}

func (a *api) healthz(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") }

func (a *api) readyz(w http.ResponseWriter, _ *http.Request) {
	if _, ready, err := a.snapshot.take(); err != nil || !ready {
		writeText(w, http.StatusServiceUnavailable, "not ready: no upstream can be used\n")
		return
	}
	writeText(w, http.StatusOK, "ready\n")
}

func (a *api) status(w http.ResponseWriter, r *http.Request) {
	body, _, err := a.snapshot.take()
	if err != nil {
		a.Log.ErrorContext(r.Context(), "no status", "err", err)
		broken(err).write(w)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // who is gone needs no answer
}

func (a *api) upstream(w http.ResponseWriter, r *http.Request) {
	name, action := r.PathValue("name"), r.PathValue("action")
	act, ok := map[string]func(string) error{
		"select": a.Control.Select,
		"drain":  a.Control.Drain,
		"enable": a.Control.Enable,
		"probe":  a.Control.Probe,
	}[action]
	if !ok {
		noAction.write(w)
		return
	}
	err := act(name)
	a.Log.InfoContext(r.Context(), "status call", "action", action, "upstream", name, "client", r.RemoteAddr,
		"err", err)
	finish(w, err)
}

func (a *api) reload(w http.ResponseWriter, r *http.Request) {
	err := a.Control.Reload()
	a.Log.InfoContext(r.Context(), "status call", "action", "reload", "client", r.RemoteAddr, "err", err)
	if err != nil && !errors.Is(err, ErrConflict) {
		notReloaded(err).write(w)
		return
	}
	finish(w, err)
}

// finish answers a call that was carried out, or not.
func finish(w http.ResponseWriter, err error) {
	if err != nil {
		problemOf(err).write(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
