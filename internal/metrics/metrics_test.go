package metrics

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

// full is a report with something in every field that metrics show.
func full() report.Report {
	path := report.Path{
		Proto: "tcp", Usable: true, Current: true, Score: .05, RTT: .04, Carrier: "h2", Standby: 2, Flows: 3,
		Selected: 4, Traffic: report.Traffic{BytesIn: 5, BytesOut: 6}, Failures: map[string]uint64{"tls": 7},
	}
	return report.Report{
		Ready: true,
		Flows: []report.Flows{{
			Proto: "tcp", Open: 8, Total: 9, Waiting: 21, Refused: map[string]uint64{"memory": 22},
		}},
		GivenUp: 23,
		Dropped: map[string]uint64{"fragment": 10},
		Upstreams: []report.Upstream{
			{Name: "a", CertificateExpires: time.Unix(1800000000, 0), Paths: []report.Path{path}},
			{Name: "b"},
		},
		WebSocket: report.Traffic{BytesIn: 111, BytesOut: 222, PacketsIn: 4, PacketsOut: 6},
		Switches:  []report.Switches{{Proto: "tcp", Reason: "down", Count: 12}},
		Tunnel: report.Tunnel{
			Traffic: report.Traffic{BytesIn: 15, BytesOut: 16, PacketsIn: 17, PacketsOut: 18},
			Drops:   map[string]uint64{"size": 19}, Errors: map[string]uint64{"read": 20},
		},
		Reload: report.Reload{OK: 13, Failed: 14, At: time.Unix(1700000000, 500e6), Err: "bad"},
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape = %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestScrape(t *testing.T) {
	m := New("v1", full)
	m.Expect("a", "tcp")
	m.Dials("a", "tcp")(20 * time.Millisecond)
	m.Probed("a", "tcp").Passed(Transport, time.Second)
	m.Probed("a", "tcp").Failed(Quality, time.Second)
	text := scrape(t, m)
	for _, line := range []string{
		`build_info{version="v1"} 1`,
		`ready 1`,
		`offline 0`,
		`flows_open{proto="tcp"} 8`,
		`flows_total{proto="tcp"} 9`,
		`flows_waiting{proto="tcp"} 21`,
		`flows_refused_total{proto="tcp",reason="memory"} 22`,
		`flows_given_up_total 23`,
		`packets_dropped_total{reason="fragment"} 10`,
		`upstream_healthy{proto="tcp",upstream="a"} 1`,
		`upstream_current{proto="tcp",upstream="a"} 1`,
		`upstream_score_seconds{proto="tcp",upstream="a"} 0.05`,
		`upstream_rtt_seconds{proto="tcp",upstream="a"} 0.04`,
		`upstream_carrier{carrier="h2",proto="tcp",upstream="a"} 1`,
		`upstream_carrier{carrier="h3",proto="tcp",upstream="a"} 0`,
		`upstream_standby_ready{proto="tcp",upstream="a"} 2`,
		`upstream_flows_open{proto="tcp",upstream="a"} 3`,
		`upstream_selected_total{proto="tcp",upstream="a"} 4`,
		`upstream_bytes_total{dir="in",proto="tcp",upstream="a"} 5`,
		`upstream_bytes_total{dir="out",proto="tcp",upstream="a"} 6`,
		`upstream_failures_total{proto="tcp",reason="tls",upstream="a"} 7`,
		`upstream_switches_total{proto="tcp",reason="down"} 12`,
		`upstream_certificate_expiry_timestamp_seconds{upstream="a"} 1.8e+09`,
		`ws_bytes_total{dir="in"} 111`,
		`ws_bytes_total{dir="out"} 222`,
		`ws_packets_total{dir="in"} 4`,
		`ws_packets_total{dir="out"} 6`,
		`ws_dial_duration_seconds_bucket{proto="tcp",upstream="a",le="0.025"} 1`,
		`probe_runs_total{proto="tcp",result="ok",stage="transport",upstream="a"} 1`,
		`probe_runs_total{proto="tcp",result="ok",stage="quality",upstream="a"} 0`,
		`probe_runs_total{proto="tcp",result="error",stage="quality",upstream="a"} 1`,
		`probe_duration_seconds_count{proto="tcp",stage="quality",upstream="a"} 1`,
		`reloads_total{result="ok"} 13`,
		`reloads_total{result="error"} 14`,
		`last_reload_timestamp_seconds 1.7000000005e+09`,
		`last_reload_successful 0`,
		`tun_packets_total{dir="in"} 17`,
		`tun_bytes_total{dir="out"} 16`,
		`tun_drops_total{reason="size"} 19`,
		`tun_errors_total{op="read"} 20`,
	} {
		if !strings.Contains(text, "\noutlinews_"+line+"\n") {
			t.Errorf("no line outlinews_%s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestForget(t *testing.T) {
	m := New("v1", func() report.Report { return report.Report{} })
	m.Expect("a", "tcp")
	m.Expect("b", "udp")
	m.Forget("a")
	text := scrape(t, m)
	if strings.Contains(text, `upstream="a"`) || !strings.Contains(text, `upstream="b"`) {
		t.Errorf("after Forget(a):\n%s", text)
	}
}

// TestDocs keeps docs/metrics.md true: dashboards and alerts of users stand on these names.
func TestDocs(t *testing.T) {
	m := New("v1", full)
	m.Expect("a", "tcp")
	m.Probed("a", "tcp").Opened()
	want := matches(t, `(?m)^# TYPE (outlinews_\w+) `, scrape(t, m))
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	got := matches(t, "(?m)^\\| `(outlinews_\\w+)`", string(doc))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/metrics.md differs from what is scraped (-scraped +documented):\n%s", diff)
	}
}

func matches(t *testing.T, pattern, text string) (names []string) {
	t.Helper()
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	slices.Sort(names)
	return names
}
