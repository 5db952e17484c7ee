package app

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// newProber probes the paths of a fleet as the configuration wants.
func newProber(c *config.Config, f *fleet, log *slog.Logger) (*health.Prober, error) {
	p := &health.Prober{Schedule: schedule(c.Health), Logger: log}
	if c.DisableProbes {
		return p, nil
	}
	limits := health.Timeouts{Dial: c.Health.Timeout, Exchange: c.Probe.Timeout}
	for _, u := range f.units {
		if u.stream != nil && c.Probe.EnableTCP {
			p.Paths = append(p.Paths, health.Path{
				Name: u.entry.Name, Proto: balancer.TCP, Record: u.stream.Health,
				Probe: health.TCPProbe(u.up.ProbeStreams(), c.Probe.TCPTargets, limits),
			})
		}
		if u.packet == nil || !c.Probe.EnableUDP {
			continue
		}
		question := health.Question{Name: c.Probe.DNSName, Type: c.Probe.DNSType}
		probe, err := health.UDPProbe(u.up.ProbePackets(), c.Probe.UDPTargets, question, limits)
		if err != nil {
			return nil, err
		}
		p.Paths = append(p.Paths, health.Path{
			Name: u.entry.Name, Proto: balancer.UDP, Record: u.packet.Health, Probe: probe,
		})
	}
	return p, nil
}

// probing runs one prober after the other.
type probing struct {
	current atomic.Pointer[prober]

	mu      sync.Mutex
	running context.Context //nolint:containedctx // of run; nil before
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// prober is one with the way from a record to its upstream's paths.
type prober struct {
	*health.Prober
	upstreamOf map[*health.Record]string
	paths      map[string][]int // by upstream
}

// run runs the prober of the moment until ctx ends.
func (p *probing) run(ctx context.Context) {
	p.mu.Lock()
	p.running = ctx
	p.start()
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done.Wait()
}

// use replaces the prober. What its records know stays.
func (p *probing) use(next *health.Prober) {
	n := &prober{Prober: next, upstreamOf: make(map[*health.Record]string), paths: make(map[string][]int)}
	for i, path := range next.Paths {
		n.upstreamOf[path.Record] = path.Name
		n.paths[path.Name] = append(n.paths[path.Name], i)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		p.stop()
		p.done.Wait()
	}
	p.current.Store(n)
	p.start()
}

// start runs the prober of the moment, if it is time for that. The caller holds mu.
func (p *probing) start() {
	current := p.current.Load()
	if p.running == nil || current == nil {
		return
	}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(p.running)
	p.done.Go(func() { _ = current.Run(ctx) })
}

// trouble has both paths of an upstream probed when a flow met trouble on one: they share a server.
func (p *probing) trouble(record *health.Record) {
	current := p.current.Load()
	for _, i := range current.paths[current.upstreamOf[record]] {
		current.Soon(i)
	}
}
