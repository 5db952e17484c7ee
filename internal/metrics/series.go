package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

// metric is one line of docs/metrics.md.
type metric struct {
	name   string
	kind   prometheus.ValueType
	labels []string
	help   string
	values func(r *report.Report, emit emit)
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// programMetrics are of the program as a whole.
func programMetrics() []metric {
	return []metric{
		{
			"ready", gauge, nil, "1 while an upstream can be used for new flows.",
			func(r *report.Report, emit emit) { emit(truth(r.Ready)) },
		},
		{
			"offline", gauge, nil, "1 while this host has no network, so that nothing is tried.",
			func(r *report.Report, emit emit) { emit(truth(r.Offline)) },
		},
		{
			"reloads_total", counter,
			[]string{"result"},
			"Reloads of the configuration.",
			func(r *report.Report, emit emit) {
				emit(float64(r.Reload.OK), "ok")
				emit(float64(r.Reload.Failed), "error")
			},
		},
		{
			"last_reload_timestamp_seconds", gauge, nil, "When the last reload was; 0 before the first.",
			func(r *report.Report, emit emit) { emit(unix(r.Reload.At)) },
		},
		{
			"last_reload_successful", gauge, nil, "0 when the last reload failed.",
			func(r *report.Report, emit emit) { emit(truth(r.Reload.Err == "")) },
		},
	}
}

// flowMetrics are of what applications do.
func flowMetrics() []metric {
	return []metric{
		{
			"flows_open", gauge,
			[]string{"proto"},
			"Flows of applications that are open.",
			eachProto(func(f *report.Flows) float64 { return float64(f.Open) }),
		},
		{
			"flows_total", counter,
			[]string{"proto"},
			"Flows of applications so far.",
			eachProto(func(f *report.Flows) float64 { return float64(f.Total) }),
		},
		{
			"packets_dropped_total", counter,
			[]string{"reason"},
			"Datagrams of applications that were not relayed.",
			func(r *report.Report, emit emit) { emitMap(r.Dropped, emit) },
		},
		{
			"upstream_switches_total", counter,
			[]string{"proto", "reason"},
			"Switches of new flows to another upstream.",
			func(r *report.Report, emit emit) {
				for _, s := range r.Switches {
					emit(float64(s.Count), s.Proto, s.Reason)
				}
			},
		},
	}
}

// eachProto is a metric that the flows of every protocol have one value of.
func eachProto(value func(*report.Flows) float64) func(*report.Report, emit) {
	return func(r *report.Report, emit emit) {
		for i := range r.Flows {
			emit(value(&r.Flows[i]), r.Flows[i].Proto)
		}
	}
}

// roomMetrics are of flows for which there was no room.
func roomMetrics() []metric {
	return []metric{
		{
			"flows_waiting", gauge,
			[]string{"proto"},
			"Flows that wait for room under memory_limit.",
			eachProto(func(f *report.Flows) float64 { return float64(f.Waiting) }),
		},
		{
			"flows_refused_total", counter,
			[]string{"proto", "reason"},
			"Flows that found no room under memory_limit.",
			func(r *report.Report, emit emit) {
				for _, f := range r.Flows {
					for reason, n := range f.Refused {
						emit(float64(n), f.Proto, reason)
					}
				}
			},
		},
		{
			"flows_given_up_total", counter, nil, "Flows that were reset because memory ran out.",
			func(r *report.Report, emit emit) { emit(float64(r.GivenUp)) },
		},
	}
}

// wireMetrics are of what goes to servers.
func wireMetrics() []metric {
	return []metric{
		{
			"ws_packets_total", counter,
			[]string{"dir"},
			"Messages inside the WebSockets to all upstreams.",
			func(r *report.Report, emit emit) {
				emit(float64(r.WebSocket.PacketsIn), "in")
				emit(float64(r.WebSocket.PacketsOut), "out")
			},
		},
		{
			"ws_bytes_total", counter,
			[]string{"dir"},
			"Bytes inside the WebSockets to all upstreams.",
			func(r *report.Report, emit emit) {
				emit(float64(r.WebSocket.BytesIn), "in")
				emit(float64(r.WebSocket.BytesOut), "out")
			},
		},
	}
}

// tunnelMetrics are of the full tunnel; all 0 without one.
func tunnelMetrics() []metric {
	dir := []string{"dir"}
	return []metric{
		{
			"tun_packets_total", counter, dir, "Packets of the full tunnel.",
			func(r *report.Report, emit emit) {
				emit(float64(r.Tunnel.Traffic.PacketsIn), "in")
				emit(float64(r.Tunnel.Traffic.PacketsOut), "out")
			},
		},
		{
			"tun_bytes_total", counter, dir, "Bytes of the full tunnel.",
			func(r *report.Report, emit emit) {
				emit(float64(r.Tunnel.Traffic.BytesIn), "in")
				emit(float64(r.Tunnel.Traffic.BytesOut), "out")
			},
		},
		{
			"tun_drops_total", counter,
			[]string{"reason"},
			"Packets that the full tunnel dropped.",
			func(r *report.Report, emit emit) { emitMap(r.Tunnel.Drops, emit) },
		},
		{
			"tun_errors_total", counter,
			[]string{"op"},
			"Errors of the full tunnel.",
			func(r *report.Report, emit emit) { emitMap(r.Tunnel.Errors, emit) },
		},
	}
}

// emitMap takes each key for a label.
func emitMap(counts map[string]uint64, emit emit) {
	for label, n := range counts {
		emit(float64(n), label)
	}
}
