// Package metrics shows the program to Prometheus.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

const (
	namespace = "outlinews"
	// A scrape is cheap, and nobody needs more of them at a time.
	maxScrapes = 4
)

// Metrics holds what is counted here, and reads what others know when it is scraped. Its methods may be
// called concurrently.
type Metrics struct {
	registry      *prometheus.Registry
	dials         *prometheus.HistogramVec
	probes        *prometheus.CounterVec
	probeDuration *prometheus.HistogramVec
}

// New returns metrics that read a report for every scrape. version is that of the program.
func New(version string, read func() report.Report) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		dials: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "ws_dial_duration_seconds", Buckets: buckets(),
			Help: "Time to open a WebSocket, where that worked: for flows, standby and probes.",
		}, []string{"upstream", "proto"}),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "probe_runs_total",
			Help: "Stages of probes: the transport is opened, then a target asked for its quality.",
		}, []string{"upstream", "proto", "stage", "result"}),
		probeDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "probe_duration_seconds", Buckets: buckets(),
			Help: "Time that a stage of a probe took.",
		}, []string{"upstream", "proto", "stage"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", ConstLabels: prometheus.Labels{"version": version},
		Help: "Always 1; the version is the label.",
	})
	info.Set(1)
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info, m.dials, m.probes, m.probeDuration, newReader(read),
	)
	return m
}

// buckets cover a LAN, a satellite and a dial that only just made it.
func buckets() []float64 {
	return []float64{
		.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10,
	}
}

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}

// Stages of a probe.
const (
	Transport = "transport"
	Quality   = "quality"
)

// Results of a stage.
const (
	passed = "ok"
	failed = "error"
)

// Expect has the series of a path exist from now on, so that the first event counts as an increase.
func (m *Metrics) Expect(upstream, proto string) {
	m.dials.WithLabelValues(upstream, proto)
	for _, stage := range []string{Transport, Quality} {
		m.probeDuration.WithLabelValues(upstream, proto, stage)
		for _, result := range []string{passed, failed} {
			m.probes.WithLabelValues(upstream, proto, stage, result)
		}
	}
}

// Forget ends the series of an upstream.
func (m *Metrics) Forget(upstream string) {
	labels := prometheus.Labels{"upstream": upstream}
	m.dials.DeletePartialMatch(labels)
	m.probes.DeletePartialMatch(labels)
	m.probeDuration.DeletePartialMatch(labels)
}

// Dials returns who is to be told how long the WebSockets of a path took to open.
func (m *Metrics) Dials(upstream, proto string) func(time.Duration) {
	observer := m.dials.WithLabelValues(upstream, proto)
	return func(took time.Duration) { observer.Observe(took.Seconds()) }
}

// Probed is where the probes of one path are counted.
type Probed struct {
	metrics         *Metrics
	upstream, proto string
}

// Probed returns the probes of a path.
func (m *Metrics) Probed(upstream, proto string) Probed { return Probed{m, upstream, proto} }

// Passed counts a stage that passed, and the time that it took.
func (p Probed) Passed(stage string, took time.Duration) { p.count(stage, passed, took) }

// Failed counts a stage that failed, and the time until then.
func (p Probed) Failed(stage string, took time.Duration) { p.count(stage, failed, took) }

// Opened counts a transport that was opened in a time that nobody knows.
func (p Probed) Opened() {
	p.metrics.probes.WithLabelValues(p.upstream, p.proto, Transport, passed).Inc()
}

func (p Probed) count(stage, result string, took time.Duration) {
	p.metrics.probes.WithLabelValues(p.upstream, p.proto, stage, result).Inc()
	p.metrics.probeDuration.WithLabelValues(p.upstream, p.proto, stage).Observe(took.Seconds())
}
