package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

// reader makes metrics of a report.
type reader struct {
	read   func() report.Report
	series []series
}

// series is one metric with where its values are in a report.
type series struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	values func(r *report.Report, emit emit)
}

// emit takes a value with its labels.
type emit func(value float64, labels ...string)

func newReader(read func() report.Report) *reader {
	r := &reader{read: read}
	all := slices.Concat(
		programMetrics(), flowMetrics(), roomMetrics(), wireMetrics(), pathMetrics(), tunnelMetrics(),
	)
	for _, m := range all {
		desc := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", m.name), m.help, m.labels, nil)
		r.series = append(r.series, series{desc, m.kind, m.values})
	}
	return r
}

// Describe implements prometheus.Collector.
func (r *reader) Describe(out chan<- *prometheus.Desc) {
	for _, s := range r.series {
		out <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (r *reader) Collect(out chan<- prometheus.Metric) {
	now := r.read()
	for _, s := range r.series {
		s.values(&now, func(value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(s.desc, s.kind, value, labels...)
		})
	}
}

// truth is 1 or 0.
func truth(is bool) float64 { //nolint:revive // it converts
	if is {
		return 1
	}
	return 0
}

// unix is a time as Prometheus has it; 0 for one that never was.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
