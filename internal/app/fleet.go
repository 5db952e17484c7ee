package app

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h2"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/metrics"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

// fleet is the upstreams that run. A reload replaces it by one that shares the upstreams that stayed.
type fleet struct {
	common common
	memory memory
	units  []*unit
	parts  parts
}

// parts are what all upstreams share, whatever the configuration.
type parts struct {
	buffers *sync.Once
	open    *dialer.Sockets
	sockets *dialer.Dialer          // of the common settings in force
	budget  *h2.Budget              // the same
	mark    uint32                  // where the configuration has none
	outside func() []netip.AddrPort // DNS servers where the configuration has none; may be nil
	tallies *tallies
	metrics *metrics.Metrics
	soon    func(upstream string) bool // see probing
	log     *slog.Logger
}

// common is what all upstreams of a configuration are made with. Others make all of them anew.
type common struct {
	mark        uint32
	servers     []netip.AddrPort
	dialTimeout time.Duration
	pool        config.Pool
	standby     upstream.Standby
	policy      health.Policy
	debug       bool
	windows     windows
}

func (p *parts) commonOf(c *config.Config, w windows) common {
	return common{
		mark:        cmp.Or(c.Mark, p.mark),
		servers:     c.DNS.Servers,
		dialTimeout: c.DialTimeout,
		pool:        c.Pool,
		debug:       c.WebSocket.Debug,
		windows:     w,
		standby: upstream.Standby{
			Interval:          c.Selection.WarmStandbyInterval,
			Keepalive:         c.Selection.StandbyKeepalive,
			KeepaliveInterval: c.Selection.StandbyKeepaliveInterval,
			KeepaliveTimeout:  c.Selection.StandbyKeepaliveProbeTimeout,
		},
		policy: health.Policy{
			FailThreshold:    c.Health.FailThreshold,
			SuccessThreshold: c.Health.SuccessThreshold,
			Cooldown:         c.Selection.Cooldown,
			MaxInterval:      c.Health.MaxInterval,
		},
	}
}

func (c common) equal(d common) bool {
	return c.mark == d.mark && slices.Equal(c.servers, d.servers) && c.dialTimeout == d.dialTimeout &&
		c.pool == d.pool && c.standby == d.standby && c.policy == d.policy && c.debug == d.debug &&
		c.windows == d.windows
}

// unit is one upstream that runs.
type unit struct {
	entry  config.Upstream
	up     *upstream.Upstream
	tally  *tally
	memory *carrier.Memory
	// How the server is reached for each protocol; nil: not at all.
	streamBy, packetBy *carrier.Endpoint
	hosts              []string    // of its URLs
	shared             []renewer   // connections that its flows share
	close              []io.Closer // in this order, once nobody uses it any more

	stream *balancer.Path[transport.StreamDialer]   // nil: no TCP
	packet *balancer.Path[transport.PacketListener] // nil: no UDP

	mu    sync.Mutex
	paths int // that are still in use
}

// renewer is told that the network of this host has changed.
type renewer interface{ Renew() }

// next returns the fleet of another configuration. What stayed the same is shared with this one; nothing is
// opened and nothing closed. gone is told of a unit that is not used any more.
func (f *fleet) next(c *config.Config, gone func(*unit)) (*fleet, error) {
	m := memoryOf(memoryLimit(c), flowSize(c))
	n := &fleet{common: f.parts.commonOf(c, m.windows), memory: m, parts: f.parts}
	same := n.common.equal(f.common)
	if !same {
		n.parts.sockets = dialer.New(dialer.Options{
			Mark: n.common.mark, Servers: n.common.servers, Outside: f.parts.outside,
			Sockets: f.parts.open, Logger: f.parts.log,
		})
	}
	if n.common.windows != f.common.windows {
		n.parts.budget = n.common.windows.budget()
	}
	for _, entry := range c.Upstreams {
		before := find(f.units, entry)
		if before != nil && same {
			n.units = append(n.units, before)
			continue
		}
		u, err := n.build(c, entry, gone)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", entry.Name, err)
		}
		if before != nil {
			u.inherit(before, time.Now())
		}
		n.units = append(n.units, u)
	}
	return n, nil
}

// find returns the unit of an entry, or nil.
func find(units []*unit, entry config.Upstream) *unit {
	i := slices.IndexFunc(units, func(u *unit) bool { return u.entry.Equal(entry) })
	if i < 0 {
		return nil
	}
	return units[i]
}

func (f *fleet) build(c *config.Config, entry config.Upstream, gone func(*unit)) (*unit, error) {
	factory := &upstreamFactory{
		config: c, common: f.common, parts: f.parts, log: f.parts.log.With("upstream", entry.Name),
	}
	u, err := factory.build(entry)
	if err != nil {
		return nil, err
	}
	up := u.up
	pathGone := func() {
		if u.leave() {
			gone(u)
		}
	}
	if up.CarriesStreams() {
		u.paths++
		u.stream = &balancer.Path[transport.StreamDialer]{
			Dialer: up, Fresh: up.ProbeStreams(), Health: health.NewRecord(f.common.policy),
			Keep: up.KeepStreams, Gone: pathGone,
			Failed: u.tally.tcp.failed, Counters: &u.tally.tcp.Counters,
		}
	}
	if up.CarriesPackets() {
		u.paths++
		u.packet = &balancer.Path[transport.PacketListener]{
			Dialer: up, Fresh: up.ProbePackets(), Health: health.NewRecord(f.common.policy),
			Keep: up.KeepPackets, Gone: pathGone,
			Failed: u.tally.udp.failed, Counters: &u.tally.udp.Counters,
		}
	}
	return u, nil
}

// named returns the unit of that name, or nil.
func (f *fleet) named(name string) *unit {
	i := slices.IndexFunc(f.units, func(u *unit) bool { return u.entry.Name == name })
	if i < 0 {
		return nil
	}
	return f.units[i]
}

// inherit takes over what is known of the same server.
func (u *unit) inherit(before *unit, now time.Time) {
	if u.stream != nil {
		u.stream.Health.Restore(before.stream.Health.Snapshot(), now)
	}
	if u.packet != nil {
		u.packet.Health.Restore(before.packet.Health.Snapshot(), now)
	}
}

// records are the health of its paths.
func (u *unit) records() (records []*health.Record) {
	if u.stream != nil {
		records = append(records, u.stream.Health)
	}
	if u.packet != nil {
		records = append(records, u.packet.Health)
	}
	return records
}

// leave counts a path that is not used any more, and reports whether it was the last one.
func (u *unit) leave() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.paths--
	return u.paths == 0
}

// shut closes all that the unit keeps open.
func (u *unit) shut() {
	for _, c := range u.close {
		_ = c.Close() // nobody uses it any more
	}
}

// members are the units as the balancer wants them, with the weights of c.
func (f *fleet) members(c *config.Config) []balancer.Member {
	members := make([]balancer.Member, 0, len(f.units))
	for i, u := range f.units {
		members = append(members, balancer.Member{
			Name: u.entry.Name, Weight: c.Upstreams[i].Weight, Stream: u.stream, Packet: u.packet,
		})
	}
	return members
}
