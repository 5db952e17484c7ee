package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/metrics"
)

// newProber probes the paths of a fleet as the configuration wants.
func newProber(c *config.Config, f *fleet, log *slog.Logger) (*health.Prober, error) {
	p := &health.Prober{Schedule: schedule(c.Health), Logger: log}
	if c.DisableProbes {
		return p, nil
	}
	p.OnResult = func(i int, r health.Result) { countProbe(f.parts.metrics, &p.Paths[i], r) }
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

// countProbe counts the stages that a probe went through. A stage that failed took all of the probe's time.
func countProbe(m *metrics.Metrics, path *health.Path, r health.Result) {
	probed := m.Probed(path.Name, path.Proto)
	failed, ok := errors.AsType[*health.StageError](r.Err)
	switch {
	case r.Err == nil:
		probed.Passed(metrics.Transport, r.Took-r.RTT)
		probed.Passed(metrics.Quality, r.RTT)
	case ok && failed.Stage == health.Quality:
		probed.Opened()
		probed.Failed(metrics.Quality, r.Took)
	default:
		probed.Failed(metrics.Transport, r.Took)
	}
}

// probing runs one prober after the other.
type probing struct {
	current atomic.Pointer[prober]

	mu      sync.Mutex
	running context.Context //nolint:containedctx // of run; nil before
	stop    context.CancelFunc
	resting bool
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
	p.end()
	p.current.Store(n)
	p.start()
}

// rest ends probing until again is called.
func (p *probing) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting = true
	p.end()
}

// again probes all paths at once. Probes under way are forgotten.
func (p *probing) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting = false
	p.end()
	p.start()
}

// end ends the prober that runs, if one does. The caller holds mu.
func (p *probing) end() {
	if p.stop != nil {
		p.stop()
		p.done.Wait()
	}
}

// acquit has the paths that are not probed be unknown where they were down: nobody would find them up again.
func (p *probing) acquit(f *fleet) {
	probed := p.current.Load().upstreamOf
	for _, u := range f.units {
		for _, record := range u.records() {
			if _, ok := probed[record]; !ok {
				record.Excuse()
			}
		}
	}
}

// start runs the prober of the moment, if it is time for that. The caller holds mu.
func (p *probing) start() {
	current := p.current.Load()
	if p.running == nil || current == nil || p.resting {
		return
	}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(p.running)
	p.done.Go(func() { _ = current.Run(ctx) })
}

// trouble has both paths of an upstream probed when a flow met trouble on one: they share a server.
func (p *probing) trouble(record *health.Record) {
	current := p.current.Load()
	current.soon(current.upstreamOf[record])
}

// soon has the paths of an upstream probed, and reports whether any is probed at all.
func (p *probing) soon(upstream string) bool { return p.current.Load().soon(upstream) }

func (p *prober) soon(upstream string) bool {
	for _, i := range p.paths[upstream] {
		p.Soon(i)
	}
	return len(p.paths[upstream]) > 0
}
