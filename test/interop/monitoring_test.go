//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPromtool lets Prometheus' own tool judge the files of deploy/prometheus.
func TestPromtool(t *testing.T) {
	for _, command := range []string{
		"check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml",
	} {
		args := strings.Fields(command)
		args[2] = filepath.Join(prometheusFolder, args[2])
		MustRun(t, nil, "promtool", args...)
	}
}

// TestMonitoring asks a Prometheus for every expression of the dashboard and of the alerts: of a client that
// has done nothing yet, and of one with traffic. Then it breaks things, and alerts have to come.
func TestMonitoring(t *testing.T) {
	Require(t, "prometheus")
	host := Loopback[0]
	// The names have to survive a regular expression.
	servers := []named{startNamed(t, host, "ams.example (1)", "h2=1"), startNamed(t, host, "fra+1", "h3=1")}
	web := StartWeb(t, host)
	names, _ := StartDNS(t, host)
	probes := fmt.Sprintf("probe: {tcp_target: %q, udp_target: %q}", web, names)
	busy := programs.startWatched(t, host, probes, servers)
	idle := programs.startWatched(t, host, "disable_probes: true", servers)
	p := StartPrometheus(t, host, busy.Metrics, idle.Metrics)
	p.WaitFor(t, "scrape both a few times", func(ctx context.Context) error {
		return wantEach(ctx, p, "count_over_time(outlinews_ready[1m])", 2, 4)
	})

	d := LoadDashboard(t)
	t.Run("idle", func(t *testing.T) { testIdle(t, p, d, idle.Metrics) })
	stop := startTraffic(t, host, busy)
	t.Run("busy", func(t *testing.T) { testBusy(t, p, d) })
	for _, server := range servers {
		for _, proto := range []string{"tcp", "udp"} {
			chosen := Choice{"instance": busy.Metrics, "upstream": server.name, "proto": proto}
			t.Run(server.name+" "+proto, func(t *testing.T) { testChosen(t, p, d, chosen) })
		}
	}
	t.Run("alerts see", func(t *testing.T) { testAlertsSee(t, p) })
	stop() // flows on a server that is killed may fail
	t.Run("alerts come", func(t *testing.T) { testAlertsCome(t, p, servers[0], busy, idle) })
}

// testIdle wants data for every expression, and in every panel something to see: a number.
func testIdle(t *testing.T, p Prometheus, d Dashboard, instance string) {
	choice, err := d.Choose(t.Context(), p, Choice{"instance": instance})
	if err != nil {
		t.Fatal(err)
	}
	numbers := make(map[string]int) // by panel
	for _, expr := range d.Expressions(choice) {
		samples, err := p.Query(t.Context(), expr.Text)
		if err != nil || len(samples) == 0 {
			t.Errorf("%v = %v, %v", expr, samples, err)
		}
		numbers[expr.Panel] += countNumbers(samples)
	}
	for panel, n := range numbers {
		if n == 0 {
			t.Errorf("%s has nothing to show", panel)
		}
	}
}

// testBusy wants numbers for every expression, of both clients together.
func testBusy(t *testing.T, p Prometheus, d Dashboard) {
	choice, err := d.Choose(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	expressions := d.Expressions(choice)
	for _, expr := range expressions {
		p.WaitFor(t, "show numbers in "+expr.Panel, func(ctx context.Context) error {
			return wantNumbers(ctx, p, expr.Text)
		})
	}
	t.Logf("%d expressions gave data", len(expressions))
	testLegends(t, p, expressions)
	// What moved has to show, or the panels look at the wrong things.
	for _, moved := range []string{
		`upstream_bytes_total{proto="tcp", dir="in"}`, `upstream_bytes_total{proto="tcp", dir="out"}`,
		`upstream_bytes_total{proto="udp", dir="in"}`, `upstream_bytes_total{proto="udp", dir="out"}`,
		`ws_bytes_total{dir="in"}`, `ws_packets_total{dir="out"}`, `flows_total{proto="tcp"}`,
		`ws_dial_duration_seconds_count`, `probe_runs_total{stage="quality", result="ok"}`,
		`upstream_certificate_expiry_timestamp_seconds`, `upstream_rtt_seconds`, `upstream_standby_ready`,
		`upstream_carrier{carrier="h2"}`, `upstream_carrier{carrier="h3"}`,
	} {
		p.WaitFor(t, "count "+moved, func(ctx context.Context) error {
			return wantEach(ctx, p, "sum(outlinews_"+moved+")", 1, math.SmallestNonzeroFloat64)
		})
	}
}

// testLegends wants the labels of every legend to exist, and no two lines of a panel to be called the same.
func testLegends(t *testing.T, p Prometheus, expressions []Expression) {
	seen := make(map[string]bool)
	for _, expr := range expressions {
		samples, err := p.Query(t.Context(), expr.Text)
		if err != nil {
			t.Error(err)
		}
		for _, sample := range samples {
			legend := expr.Legend(sample)
			if legend == "" {
				continue // a table has columns
			}
			line := expr.Panel + ": " + legend
			if seen[line] || strings.Contains(legend, "{{") {
				t.Errorf("legend of %v = %s, which is not its own, or misses a label", sample.Labels, line)
			}
			seen[line] = true
		}
	}
}

// testChosen wants data for every expression when not everything is chosen, and nothing of what is not.
func testChosen(t *testing.T, p Prometheus, d Dashboard, chosen Choice) {
	choice, err := d.Choose(t.Context(), p, chosen)
	if err != nil {
		t.Fatal(err)
	}
	for _, expr := range d.Expressions(choice) {
		samples, err := p.Query(t.Context(), expr.Text)
		if err != nil || len(samples) == 0 {
			t.Errorf("%v = %v, %v", expr, samples, err)
		}
		for _, sample := range samples {
			for label, want := range chosen {
				if got, ok := sample.Labels[label]; ok && got != want {
					t.Errorf("%v has data of %s", expr, got)
				}
			}
		}
	}
}

// testAlertsSee wants every alert to have something to look at, and none to fire while all is well.
func testAlertsSee(t *testing.T, p Prometheus) {
	rules, err := p.Rules(t.Context())
	if err != nil || len(rules) == 0 {
		t.Fatalf("%d rules, %v", len(rules), err)
	}
	for _, rule := range rules {
		if rule.Health != "ok" || rule.LastError != "" {
			t.Errorf("%s is %s: %s", rule.Name, rule.Health, rule.LastError)
		}
		if err := wantNumbers(t.Context(), p, Compared(rule.Query)); err != nil {
			t.Errorf("%s: %v", rule.Name, err)
		}
	}
	alerts, err := p.Alerts(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, alert := range alerts {
		t.Errorf("while all is well: %v", alert)
	}
}

// testAlertsCome breaks a server, a configuration and a client.
func testAlertsCome(t *testing.T, p Prometheus, server named, busy, idle watched) {
	server.process.Kill()
	writeFile(t, busy.config, []byte("upstreams: nonsense\n"))
	if err := busy.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	idle.Stop(t)
	const down = "OutlineUpstreamDown"
	for _, want := range []map[string]string{
		{"alertname": down, "instance": busy.Metrics, "upstream": server.name, "proto": "tcp"},
		{"alertname": down, "instance": busy.Metrics, "upstream": server.name, "proto": "udp"},
		{"alertname": "OutlineReloadFailed", "instance": busy.Metrics},
		{"alertname": "OutlineClientDown", "instance": idle.Metrics},
	} {
		p.WaitFor(t, fmt.Sprint("see ", want), func(ctx context.Context) error {
			alerts, err := p.Alerts(ctx)
			if err == nil && !slices.ContainsFunc(alerts, func(a Alert) bool { return a.Has(want) }) {
				err = fmt.Errorf("there are %v", alerts)
			}
			return err
		})
	}
}

// named is a server with the name that clients have for it.
type named struct {
	*Server

	name string
}

func startNamed(t *testing.T, host netip.Addr, name, query string) named {
	t.Helper()
	server := StartWholeServer(t, host, Ciphers[0], programs.StartCaddy)
	server.Query = query
	return named{server, name}
}

// watched is a client with metrics.
type watched struct {
	Client

	Metrics string // address of them
	config  string // file
}

// startWatched starts a client with several upstreams and one more line in its configuration.
func (p Programs) startWatched(t *testing.T, host netip.Addr, line string, servers []named) watched {
	t.Helper()
	w := watched{Metrics: freeAddr(t, host), Client: Client{SOCKS: freeAddr(t, host)}}
	lines := []string{fmt.Sprintf("listen: {socks5: %q}", w.SOCKS), "log: {level: debug}", line, "upstreams:"}
	for _, server := range servers {
		lines = append(lines, upstreamConfig(server.name, server.Server)...)
	}
	config := []byte(strings.Join(lines, "\n") + "\n")
	w.config = writeFile(t, filepath.Join(t.TempDir(), "config.yaml"), config)
	w.Process = StartProcess(t, exec.Command(p.Client, "-c", w.config, "-metrics", w.Metrics))
	w.WaitServing(t, w.Metrics)
	w.WaitServing(t, w.SOCKS)
	return w
}

// startTraffic has the client carry a little TCP and UDP until stop is called or the test ends.
func startTraffic(t *testing.T, host netip.Addr, client watched) (stop func()) {
	t.Helper()
	stream := StartTCP(t, host, func(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) })
	packets := netip.MustParseAddrPort(StartEcho(t, host))
	payload := Bulk()[:64<<10]
	association, err := Associate(t.Context(), client.SOCKS)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}) // closed when the traffic has ended
	go func() {
		defer close(done)
		defer association.Close()
		for ctx.Err() == nil {
			err := echoOnce(ctx, client.Client, stream, payload)
			err = errors.Join(err, echoText(association, packets, "hello"))
			if err != nil && ctx.Err() == nil {
				t.Errorf("traffic: %v", err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(ScrapeInterval / 10):
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// wantNumbers wants an expression to give something that is a number.
func wantNumbers(ctx context.Context, p Prometheus, expr string) error {
	samples, err := p.Query(ctx, expr)
	if err == nil && countNumbers(samples) == 0 {
		err = fmt.Errorf("%s = %v", expr, samples)
	}
	return err
}

// wantEach wants an expression to give so many numbers, none of them below least.
func wantEach(ctx context.Context, p Prometheus, expr string, count int, least float64) error {
	samples, err := p.Query(ctx, expr)
	if err != nil {
		return err
	}
	low := func(s Sample) bool { return !(s.Value >= least) } // nor NaN
	if len(samples) != count || slices.ContainsFunc(samples, low) {
		return fmt.Errorf("%s = %v, want %d of at least %v", expr, samples, count, least)
	}
	return nil
}

func countNumbers(samples []Sample) (n int) {
	for _, sample := range samples {
		if !math.IsNaN(sample.Value) {
			n++
		}
	}
	return n
}
