package app

import (
	"fmt"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

// buildMembers makes the upstreams, with their probes and what the state file says of them.
func buildMembers(f *upstreamFactory, g *graph) ([]balancer.Member, error) {
	var members []balancer.Member
	for _, entry := range f.config.Upstreams {
		up, memory, err := f.build(entry)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", entry.Name, err)
		}
		kept := remembered{server: entry.TCP.String() + " " + entry.UDP.String(), memory: memory}
		m := balancer.Member{Name: entry.Name, Weight: entry.Weight}
		if up.CarriesStreams() {
			kept.tcp = f.record()
			m.Stream = &balancer.Path[transport.StreamDialer]{
				Dialer: up, Fresh: up.ProbeStreams(), Health: kept.tcp, Keep: up.KeepStreams,
			}
			f.probeStreams(g.prober, entry.Name, kept.tcp, up)
		}
		if up.CarriesPackets() {
			kept.udp = f.record()
			m.Packet = &balancer.Path[transport.PacketListener]{
				Dialer: up, Fresh: up.ProbePackets(), Health: kept.udp, Keep: up.KeepPackets,
			}
			if err := f.probePackets(g.prober, entry.Name, kept.udp, up); err != nil {
				return nil, err
			}
		}
		g.state.add(entry.Name, kept)
		members = append(members, m)
	}
	return members, nil
}

func (f *upstreamFactory) record() *health.Record {
	return health.NewRecord(health.Policy{
		FailThreshold:    f.config.Health.FailThreshold,
		SuccessThreshold: f.config.Health.SuccessThreshold,
		Cooldown:         f.config.Selection.Cooldown,
		MaxInterval:      f.config.Health.MaxInterval,
	})
}

func (f *upstreamFactory) timeouts() health.Timeouts {
	return health.Timeouts{Dial: f.config.Health.Timeout, Exchange: f.config.Probe.Timeout}
}

func (f *upstreamFactory) probeStreams(
	to *health.Prober, name string, r *health.Record, up *upstream.Upstream,
) {
	if f.config.DisableProbes || !f.config.Probe.EnableTCP {
		return
	}
	to.Paths = append(to.Paths, health.Path{
		Name: name, Proto: balancer.TCP, Record: r,
		Probe: health.TCPProbe(up.ProbeStreams(), f.config.Probe.TCPTargets, f.timeouts()),
	})
}

func (f *upstreamFactory) probePackets(
	to *health.Prober, name string, r *health.Record, up *upstream.Upstream,
) error {
	if f.config.DisableProbes || !f.config.Probe.EnableUDP {
		return nil
	}
	question := health.Question{Name: f.config.Probe.DNSName, Type: f.config.Probe.DNSType}
	probe, err := health.UDPProbe(up.ProbePackets(), f.config.Probe.UDPTargets, question, f.timeouts())
	if err != nil {
		return err
	}
	to.Paths = append(to.Paths, health.Path{Name: name, Proto: balancer.UDP, Record: r, Probe: probe})
	return nil
}
