package app

import (
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// Version is the module's version, with the commit that it was built from as far as that is known.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			version += " " + s.Value
		}
	}
	return version
}

// facts are what a report needs of the configuration in force. They do not change.
type facts struct {
	config    *config.Config
	fleet     *fleet
	listeners []report.Listener
	reload    report.Reload
}

// publish has reports show what is in force. The caller holds reloading, or is the only one.
func (a *App) publish() {
	f := &facts{config: a.config, fleet: a.fleet, reload: a.reloads}
	for p, d := range a.doors {
		f.listeners = append(f.listeners, report.Listener{Kind: p.kind, Addr: d.addr})
	}
	slices.SortFunc(f.listeners, func(a, b report.Listener) int {
		return strings.Compare(a.Kind+a.Addr, b.Kind+b.Addr)
	})
	a.facts.Store(f)
}

// Report is the program at this moment. It waits for nobody.
func (a *App) Report() report.Report {
	f, now, room := a.facts.Load(), time.Now(), a.gate.Stats()
	r := report.Report{
		At: now, Version: Version(), Started: a.started, Listeners: f.listeners, Reload: f.reload,
		Flows: a.inbound.flows(room), GivenUp: room.GivenUp, Dropped: a.inbound.drops(),
	}
	r.Upstreams, r.WebSocket = a.reportUpstreams(f, now), a.tallies.inWebSockets()
	r.Tunnel = a.tunnel.report()
	r.Offline = a.Offline()
	r.Ready = ready(f.config, r.Upstreams) && !r.Offline
	for _, d := range a.balancer.Decisions() {
		r.Decisions = append(r.Decisions, report.Decision{
			At: d.Time, Proto: d.Proto, From: d.From, FromScore: report.SecondsOf(d.FromScore),
			To: d.To, ToScore: report.SecondsOf(d.ToScore), Reason: string(d.Reason),
		})
	}
	for _, proto := range []string{balancer.TCP, balancer.UDP} {
		for reason, n := range a.balancer.Switches(proto) {
			r.Switches = append(r.Switches, report.Switches{Proto: proto, Reason: string(reason), Count: n})
		}
	}
	return r
}

// ready reports whether new TCP flows have an upstream, or UDP flows where nothing carries TCP. One that
// nothing is known of counts only where no probe will find out: a program that was just given a wrong secret
// must not take the place of one that works.
func ready(c *config.Config, upstreams []report.Upstream) bool {
	probed := map[string]bool{
		balancer.TCP: c.Probe.EnableTCP && !c.DisableProbes,
		balancer.UDP: c.Probe.EnableUDP && !c.DisableProbes,
	}
	carried, usable := make(map[string]bool), make(map[string]bool)
	for _, u := range upstreams {
		for _, p := range u.Paths {
			carried[p.Proto] = true
			known := p.State != health.Unknown.String() || !p.LastAnswer.IsZero() || !probed[p.Proto]
			usable[p.Proto] = usable[p.Proto] || p.Usable && known
		}
	}
	if carried[balancer.TCP] {
		return usable[balancer.TCP]
	}
	return usable[balancer.UDP]
}

func (a *App) reportUpstreams(f *facts, now time.Time) []report.Upstream {
	paths := make(map[*health.Record]balancer.PathStatus)
	for _, p := range a.balancer.Paths(now) {
		paths[p.Health] = p
	}
	var all []report.Upstream
	for i, u := range f.fleet.units {
		one := report.Upstream{
			Name: u.entry.Name, Weight: f.config.Upstreams[i].Weight, WebSocket: inside(&u.tally.websocket),
		}
		if at := u.tally.certificateExpires.Load(); at != 0 {
			one.CertificateExpires = time.Unix(at, 0)
		}
		streams, packets := u.up.Ready()
		if u.stream != nil {
			p := reportPath(paths[u.stream.Health], &u.tally.tcp, u.streamBy)
			p.Proto, p.Standby = balancer.TCP, streams
			one.Paths = append(one.Paths, p)
		}
		if u.packet != nil {
			p := reportPath(paths[u.packet.Health], &u.tally.udp, u.packetBy)
			p.Proto, p.Standby = balancer.UDP, packets
			one.Paths = append(one.Paths, p)
		}
		all = append(all, one)
	}
	return all
}

func inside(t *websocket.Traffic) report.Traffic {
	return report.Traffic{
		BytesIn: t.BytesIn.Load(), BytesOut: t.BytesOut.Load(),
		PacketsIn: t.MessagesIn.Load(), PacketsOut: t.MessagesOut.Load(),
	}
}

func reportPath(s balancer.PathStatus, t *pathTally, e *carrier.Endpoint) report.Path {
	known := s.Status
	p := report.Path{
		State: known.State.String(), Usable: s.Usable, Current: s.Current,
		Score: report.SecondsOf(s.Score), RTT: report.SecondsOf(known.RTT),
		Penalty: report.SecondsOf(known.Penalty), Stale: report.SecondsOf(known.Stale),
		LastRTT: report.SecondsOf(known.LastRTT), LastErrorAt: known.LastErrorAt,
		LastProbe: known.LastSample, LastAnswer: known.LastAnswer,
		Preferred: s.Wish == balancer.Preferred, Drained: s.Wish == balancer.Drained,
		Flows: s.Flows, Selected: t.Selected.Load(), Traffic: report.Traffic{
			BytesIn: t.BytesIn.Load(), BytesOut: t.BytesOut.Load(),
			PacketsIn: t.PacketsIn.Load(), PacketsOut: t.PacketsOut.Load(),
		},
		Failures: make(map[string]uint64, len(failureReasons)),
	}
	if known.Cooling {
		p.CoolUntil = known.CoolUntil
	}
	if known.LastError != nil {
		p.LastError = known.LastError.Error()
	}
	if mode := e.InUse(); mode != 0 {
		p.Carrier = mode.String()
	}
	for i, reason := range failureReasons {
		p.Failures[reason] = t.failures[i].Load()
	}
	return p
}
