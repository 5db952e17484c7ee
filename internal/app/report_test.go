package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

// streamPath is the TCP path of the first upstream.
func streamPath(t *testing.T, r report.Report) report.Path {
	t.Helper()
	if len(r.Upstreams) == 0 || len(r.Upstreams[0].Paths) == 0 {
		t.Fatalf("no TCP path in %+v", r.Upstreams)
	}
	return r.Upstreams[0].Paths[0]
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestReportCountsFlows(t *testing.T) {
	for flag, carrier := range map[string]string{"connect=1": "h1", "h2=only": "h2", "h3=only": "h3"} {
		t.Run(flag, func(t *testing.T) {
			p := startPair(t, flag, "")
			target, err := outlinetest.StartEcho("")
			echo := startTarget(t, target, err)
			flow := connect(t, p.client, echo.Addr())
			ask(t, flow, "ten bytes!")

			r := p.app.Report()
			got := streamPath(t, r)
			want := report.Path{
				Proto: balancer.TCP, State: "up", Usable: true, Current: true, Carrier: carrier, Flows: 1,
				Selected: 1, Traffic: report.Traffic{BytesIn: 10, BytesOut: 10},
				Score: got.Score, LastAnswer: got.LastAnswer, Failures: got.Failures,
			}
			if diff := cmp.Diff(want, got); diff != "" || got.LastAnswer.IsZero() {
				t.Errorf("path (-want +got):\n%s", diff)
			}
			checkTotals(t, r)
			if text := scrape(p.app); !strings.Contains(text,
				`outlinews_upstream_bytes_total{dir="in",proto="tcp",upstream="first"} 10`) {
				t.Errorf("metrics without the ten bytes:\n%s", text)
			}
			_ = flow.Close()
			waitFor(t, "end of the flow", func() bool {
				r := p.app.Report()
				return r.Flows[0].Open == 0 && streamPath(t, r).Flows == 0
			})
		})
	}
}

// checkTotals looks at what is not of a path, while there is one flow.
func checkTotals(t *testing.T, r report.Report) {
	t.Helper()
	u := r.Upstreams[0]
	sent := u.WebSocket.PacketsIn > 0 && u.WebSocket.BytesOut >= 10
	if !sent || u.CertificateExpires.Before(time.Now()) {
		t.Errorf("upstream = %+v, want messages and a certificate", u)
	}
	if f := r.Flows[0]; f.Open != 1 || f.Total != 1 || !r.Ready {
		t.Errorf("report = %+v, want it ready with one flow", r)
	}
}

// TestDeadUpstreamShows: nobody uses the program, and all the same it is seen that an upstream dies, and why.
func TestDeadUpstreamShows(t *testing.T) {
	target, err := outlinetest.StartHTTP("")
	web := startTarget(t, target, err)
	for _, flag := range []string{"connect=1", "h2=only", "h3=only"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			p := startPair(t, flag, fmt.Sprintf("probe: {tcp_target: %q, enable_udp: false}", web.Addr()))
			waitFor(t, "standby", func() bool {
				return streamPath(t, p.app.Report()).Standby > 0
			})
			began := time.Now()
			if err := p.first.Close(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "switch", func() bool {
				got := streamPath(t, p.app.Report())
				return !got.Usable && !got.Current
			})
			got := streamPath(t, p.app.Report())
			t.Logf("shown after %v: %s", time.Since(began), got.LastError)
			if got.State != "down" || got.LastError == "" {
				t.Errorf("path = %+v, want it down, with the reason", got)
			}
			down := `outlinews_upstream_healthy{proto="tcp",upstream="first"} 0`
			if text := scrape(p.app); !strings.Contains(text, down) {
				t.Errorf("metrics without %s:\n%s", down, text)
			}
		})
	}
}

func TestFiguresOutliveAReload(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	named := strings.Replace(entry(t, s), "{", "{name: first, ", 1)
	c := startClient(t, "127.0.0.1:0", "upstreams:\n"+named)
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	ask(t, connect(t, c, echo.Addr()), "ten bytes!")
	c.app.Load = func() (*config.Config, error) {
		changed := strings.Replace(named, "name:", "half_close: defer, name:", 1)
		return load(t, "127.0.0.1:0", "upstreams:\n"+changed), nil
	}
	if err := c.app.ReloadFile(); err != nil {
		t.Fatal(err)
	}
	r := c.app.Report()
	if got := streamPath(t, r); got.Traffic.BytesIn != 10 || got.Flows != 0 {
		t.Errorf("path = %+v, want the bytes of before and no flow of its own", got)
	}
	if r.Reload.OK != 1 || r.Reload.At.IsZero() || r.Reload.Err != "" {
		t.Errorf("reload = %+v, want one that worked", r.Reload)
	}
	broken := errors.New("upstreams: is missing")
	c.app.Load = func() (*config.Config, error) { return nil, broken }
	if err := c.app.ReloadFile(); !errors.Is(err, broken) {
		t.Errorf("ReloadFile = %v, want %v", err, broken)
	}
	if r := c.app.Report().Reload; r.Failed != 1 || r.Err != broken.Error() {
		t.Errorf("reload = %+v, want one that failed too", r)
	}
}

// TestWebSocketsOfAllNeverShrink takes an upstream out: a counter that falls is taken for one that began
// anew, and all that it counted for what was added.
func TestWebSocketsOfAllNeverShrink(t *testing.T) {
	rest := func(name string) string {
		s := startServer(t, outlinetest.Config{})
		return "upstreams:\n" + strings.Replace(entry(t, s), "{", "{name: "+name+", ", 1)
	}
	c := startClient(t, "127.0.0.1:0", rest("first"))
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	flow := connect(t, c, echo.Addr())
	ask(t, flow, "ten bytes!")
	before := c.app.Report().WebSocket
	reload(t, c, "127.0.0.1:0", rest("second"))
	after := c.app.Report().WebSocket
	if before.BytesOut < 10 || after.BytesOut < before.BytesOut || after.PacketsIn < before.PacketsIn {
		t.Errorf("in WebSockets %+v, then %+v, want no less", before, after)
	}
	ask(t, flow, "and ten more")
	if last := c.app.Report().WebSocket; last.BytesIn < after.BytesIn+12 {
		t.Errorf("in WebSockets %+v, then %+v, want the flow that goes on counted too", after, last)
	}
}

func TestTalliesOfThePastAreBounded(t *testing.T) {
	var all tallies
	for i := range 2 * maxPast {
		all.of(strconv.Itoa(i)).websocket.BytesIn.Add(1)
		all.retain(new(fleet))
	}
	if got := all.inWebSockets().BytesIn; got != 2*maxPast || len(all.past) != maxPast {
		t.Errorf("%d bytes in %d of the past, want %d in %d", got, len(all.past), 2*maxPast, maxPast)
	}
}

func TestMetricsListener(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	c := startClient(t, "127.0.0.1:0", "metrics: {listen: \"127.0.0.1:0\"}\nupstreams:\n"+entry(t, s))
	addr := listenerAddr(t, c.app, kindMetrics)
	for path, want := range map[string]int{
		"/metrics": http.StatusOK, "/": http.StatusNotFound, "/debug/pprof/": http.StatusNotFound,
	} {
		response, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("GET %s = %s, want %d", path, response.Status, want)
		}
	}
}

func TestReasonOf(t *testing.T) {
	at := func(stage carrier.Stage, err error) error {
		return fmt.Errorf("upstream a: %w", &carrier.Error{Mode: carrier.H1, Stage: stage, Err: err})
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{at(carrier.StageConnect, context.DeadlineExceeded), "timeout"},
		{balancer.ErrSilent, "timeout"},
		{at(carrier.StageResolve, &net.DNSError{IsTimeout: true}), "dns"},
		{at(carrier.StageConnect, syscall.ECONNREFUSED), "refused"},
		{at(carrier.StageTLS, x509.UnknownAuthorityError{}), "tls"},
		{at(carrier.StageTLS, carrier.ErrPin), "tls"},
		{at(carrier.StageHandshake, &carrier.StatusError{Code: http.StatusNotFound}), "other"},
		{fmt.Errorf("read: %w", syscall.ECONNRESET), "other"},
		{errors.New("something else"), "unknown"},
		{nil, "unknown"},
	} {
		if got := failureReasons[reasonOf(tt.err)]; got != tt.want {
			t.Errorf("reasonOf(%v) = %s, want %s", tt.err, got, tt.want)
		}
	}
}
