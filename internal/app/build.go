package app

import (
	"io"
	"log/slog"
	"slices"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h2"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/socks5"
	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
)

// LoadConfig reads the file with everything checked that its meaning depends on.
func LoadConfig(path string) (*config.Config, error) {
	return config.Load(path, config.Checks{
		URL: func(raw string) error {
			_, err := carrier.ParseTarget(raw)
			return err
		},
		Cipher: func(name string) error {
			_, err := shadowsocks.ParseCipher(name)
			return err
		},
		Prefix: shadowsocks.CheckPrefix,
	})
}

// graph is the objects of the running program.
type graph struct {
	server   *socks5.Server
	balancer *balancer.Balancer
	prober   *health.Prober
	state    *state
	close    []io.Closer // once the server is shut down, in this order
}

// build makes the objects of a configuration. It opens nothing.
func build(c *config.Config, log *slog.Logger) (*graph, error) {
	factory := &upstreamFactory{
		config:  c,
		sockets: dialer.New(dialer.Options{Mark: c.Mark, Servers: c.DNS.Servers, Logger: log}),
		budget:  h2.NewBudget(windowBudget),
		log:     log,
	}
	g := &graph{
		prober: &health.Prober{Schedule: schedule(c.Health), Logger: log},
		state:  &state{path: c.StateFile, log: log},
	}
	members, err := buildMembers(factory, g)
	if err != nil {
		return nil, err
	}
	g.balancer = balancer.New(members, balancerOptions(c, g.prober, log))
	g.close = append([]io.Closer{g.balancer}, slices.Concat(factory.upstreams, factory.closers)...)
	g.server = newServerOf(c, g.balancer, log)
	for _, u := range c.Listen.SOCKS5Users {
		if err := g.server.Users.Add(u.Username, u.Password.Reveal()); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func newServerOf(c *config.Config, picker *balancer.Balancer, log *slog.Logger) *socks5.Server {
	server := &socks5.Server{
		Stream:       picker,
		UDPAdvertise: c.Listen.UDPAdvertise,
		Limits: relay.Limits{
			Answer:   c.Relay.AnswerTimeout,
			Idle:     c.Relay.IdleTimeout,
			HalfOpen: c.Relay.HalfCloseTimeout,
		},
		Logger:   log,
		Observer: dropLog{log},
	}
	if picker.CarriesPackets() {
		server.Packet = picker
	}
	return server
}

// balancerOptions translates the configuration. Trouble that a flow meets has its path probed.
func balancerOptions(c *config.Config, prober *health.Prober, log *slog.Logger) balancer.Options {
	o := balancer.Options{
		StickyTTL: c.Selection.StickyTTL,
		MinSwitch: c.Selection.MinSwitch,
		Standby:   c.Selection.WarmStandbyN,
		CloseOld:  c.Selection.CloseOld,
		Failover: balancer.Failover{
			Silence: c.Failover.Silence, Hedge: c.Failover.Hedge, Deadline: c.Failover.Deadline,
		},
		Logger: log,
	}
	if c.DisableProbes {
		o.Standby = 0
	}
	switch c.Selection.Affinity {
	case config.AffinityClient:
		o.Affinity = balancer.ClientAffinity
	case config.AffinityTarget:
		o.Affinity = balancer.TargetAffinity
	case config.AffinityNone:
	}
	switch c.Failover.Replay {
	case config.ReplayAny:
		o.Failover.Replay = balancer.ReplayAny
	case config.ReplayNever:
		o.Failover.Replay = balancer.ReplayNever
	case config.ReplaySafe:
	}
	o.Trouble = trouble(prober)
	return o
}

// trouble has both paths of an upstream probed when a flow met trouble on one: they share a server.
func trouble(prober *health.Prober) func(*health.Record) {
	upstreamOf := make(map[*health.Record]string)
	paths := make(map[string][]int) // by upstream
	for i, p := range prober.Paths {
		upstreamOf[p.Record] = p.Name
		paths[p.Name] = append(paths[p.Name], i)
	}
	return func(record *health.Record) {
		for _, i := range paths[upstreamOf[record]] {
			prober.Soon(i)
		}
	}
}

func schedule(h config.Health) health.Schedule {
	return health.Schedule{
		Interval: h.Interval, MinInterval: h.MinInterval, MaxInterval: h.MaxInterval, Jitter: h.Jitter,
		Backoff: h.BackoffFactor, RTTScale: h.RTTScale,
	}
}

// dropLog says which datagrams of clients were not relayed.
type dropLog struct{ log *slog.Logger }

func (dropLog) FlowOpened(string) {}
func (dropLog) FlowClosed(string) {}

func (d dropLog) PacketDropped(reason string) {
	d.log.Debug("datagram of a client dropped", "inbound", "socks5", "reason", reason)
}
