package app

import (
	"slices"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
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

// socksSettings translates the configuration.
func socksSettings(c *config.Config, picker *balancer.Balancer) (socks5.Settings, error) {
	s := socks5.Settings{
		Stream:       picker,
		UDPAdvertise: c.Listen.UDPAdvertise,
		Limits:       relayLimits(c),
	}
	if carriesPackets(c) {
		s.Packet = picker
	}
	for _, u := range c.Listen.SOCKS5Users {
		if err := s.Users.Add(u.Username, u.Password.Reveal()); err != nil {
			return s, err
		}
	}
	return s, nil
}

func relayLimits(c *config.Config) relay.Limits {
	return relay.Limits{
		Answer:   c.Relay.AnswerTimeout,
		Idle:     c.Relay.IdleTimeout,
		HalfOpen: c.Relay.HalfCloseTimeout,
	}
}

// carriesPackets reports whether any upstream has a URL for UDP.
func carriesPackets(c *config.Config) bool {
	return slices.ContainsFunc(c.Upstreams, func(u config.Upstream) bool { return !u.UDP.IsZero() })
}

// balancerOptions translates the configuration.
func balancerOptions(c *config.Config) balancer.Options {
	o := balancer.Options{
		StickyTTL: c.Selection.StickyTTL,
		MinSwitch: c.Selection.MinSwitch,
		Standby:   c.Selection.WarmStandbyN,
		CloseOld:  c.Selection.CloseOld,
		Failover: balancer.Failover{
			Silence: c.Failover.Silence, Hedge: c.Failover.Hedge, Deadline: c.Failover.Deadline,
		},
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
	return o
}

func schedule(h config.Health) health.Schedule {
	return health.Schedule{
		Interval: h.Interval, MinInterval: h.MinInterval, MaxInterval: h.MaxInterval, Jitter: h.Jitter,
		Backoff: h.BackoffFactor, RTTScale: h.RTTScale,
	}
}
