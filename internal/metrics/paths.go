package metrics

import (
	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

// pathMetrics are of upstreams over one protocol each.
func pathMetrics() []metric {
	path := []string{"upstream", "proto"}
	return []metric{
		{
			"upstream_selected_total", counter, path, "Flows that were given to the upstream.",
			eachPath(func(p *report.Path) float64 { return float64(p.Selected) }),
		},
		{
			"upstream_healthy", gauge, path, "1 while flows may be given to the upstream.",
			eachPath(func(p *report.Path) float64 { return truth(p.Usable) }),
		},
		{
			"upstream_current", gauge, path, "1 for the upstream that new flows go over.",
			eachPath(func(p *report.Path) float64 { return truth(p.Current) }),
		},
		{
			"upstream_score_seconds", gauge, path, "What upstreams are compared by: the lowest is used.",
			eachPath(func(p *report.Path) float64 { return float64(p.Score) }),
		},
		{
			"upstream_rtt_seconds", gauge, path, "Smoothed round trip of a probe; 0 = never measured.",
			eachPath(func(p *report.Path) float64 { return float64(p.RTT) }),
		},
		{
			"upstream_standby_ready", gauge, path, "Connections that are ready for a flow.",
			eachPath(func(p *report.Path) float64 { return float64(p.Standby) }),
		},
		{
			"upstream_flows_open", gauge, path, "Flows that are open on the upstream.",
			eachPath(func(p *report.Path) float64 { return float64(p.Flows) }),
		},
		{"upstream_bytes_total", counter, append(path[:2:2], "dir"), "Payload of flows.", pathBytes},
		{
			"upstream_carrier", gauge,
			[]string{"upstream", "proto", "carrier"},
			"1 for the carrier that connected last.", pathCarriers,
		},
		{
			"upstream_failures_total", counter,
			[]string{"upstream", "proto", "reason"},
			"Failures that flows met on the upstream.", pathFailures,
		},
		{
			"upstream_certificate_expiry_timestamp_seconds", gauge,
			[]string{"upstream"},
			"When the certificate expires that the server showed last.", certificates,
		},
	}
}

// eachPath is a metric that every path has one value of.
func eachPath(value func(*report.Path) float64) func(*report.Report, emit) {
	return func(r *report.Report, emit emit) {
		for i := range r.Upstreams {
			u := &r.Upstreams[i]
			for j := range u.Paths {
				emit(value(&u.Paths[j]), u.Name, u.Paths[j].Proto)
			}
		}
	}
}

func pathBytes(r *report.Report, emit emit) {
	for _, u := range r.Upstreams {
		for _, p := range u.Paths {
			emit(float64(p.Traffic.BytesIn), u.Name, p.Proto, "in")
			emit(float64(p.Traffic.BytesOut), u.Name, p.Proto, "out")
		}
	}
}

func pathCarriers(r *report.Report, emit emit) {
	for _, u := range r.Upstreams {
		for _, p := range u.Paths {
			for _, carrier := range []string{"h1", "h2", "h3"} {
				emit(truth(p.Carrier == carrier), u.Name, p.Proto, carrier)
			}
		}
	}
}

func pathFailures(r *report.Report, emit emit) {
	for _, u := range r.Upstreams {
		for _, p := range u.Paths {
			for reason, n := range p.Failures {
				emit(float64(n), u.Name, p.Proto, reason)
			}
		}
	}
}

// certificates leaves out upstreams that no certificate was seen of.
func certificates(r *report.Report, emit emit) {
	for _, u := range r.Upstreams {
		if !u.CertificateExpires.IsZero() {
			emit(unix(u.CertificateExpires), u.Name)
		}
	}
}
