package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/capture"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dnsforward"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/tun"
	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
	"github.com/outline-cli-ws/outline-cli-ws/internal/resolved"
)

// lookUpTime bounds how long the start waits for the addresses of the servers. What is not known by then is
// looked up when it is needed.
const lookUpTime = 5 * time.Second

// repairEvery is for how long somebody else's flush of rules or tables may let traffic past the tunnel.
const repairEvery = 10 * time.Second

// tunnel is the full tunnel: a device, who serves it, and what leads this host's traffic to it.
type tunnel struct {
	log    *slog.Logger
	server *tun.Server
	names  *dnsforward.Forwarder // nil: queries are datagrams like others
	auto   bool                  // this program leads the traffic, not the user

	elsewhere bool        // the device is in another namespace, whose routes are not ours
	marked    uint32      // the mark of the program's own sockets when it started
	looped    atomic.Bool // the way to a server leads into the tunnel
	failed    atomic.Bool // the end is none that the user asked for: a kill switch stays in force

	serving sync.WaitGroup
	stop    context.CancelFunc         // ends guard; nil before it is open
	device  atomic.Pointer[tun.Device] // nil before it is open
	mu      sync.Mutex
	capture *capture.Capture // nil unless auto, before it is open and after
}

// newTunnel returns the tunnel that a configuration asks for, or nil. Nothing is open.
func newTunnel(c *config.Config, picker *balancer.Balancer, log *slog.Logger) *tunnel {
	if !c.TUN.Enable {
		return nil
	}
	t := &tunnel{
		log: log.With("inbound", "tun"), auto: leadsTraffic(c.TUN),
		elsewhere: c.TUN.NetNS != "", marked: c.Mark,
	}
	if c.TUN.DNS.Capture {
		t.names = dnsforward.New(dnsforward.Options{
			Stream: picker, Packet: picker, Servers: c.TUN.DNS.Servers, Logger: t.log,
		})
	}
	return t
}

// leadsTraffic reports whether the program is to lead this host's traffic to the device: where it makes the
// device itself, unless the user says otherwise. A device of another namespace has nothing to do with this
// one's routes.
func leadsTraffic(c config.TUN) bool {
	if c.NetNS != "" {
		return false
	}
	if c.AutoRoute == config.AutoRouteNew {
		_, err := net.InterfaceByName(c.Device)
		return err != nil
	}
	return c.AutoRoute == config.AutoRouteOn
}

// mark is the mark of the program's own sockets where the user has chosen none; 0 is none.
func (t *tunnel) mark() uint32 {
	if t == nil || !t.auto {
		return 0
	}
	return capture.DefaultMark
}

// outsideServers finds the DNS servers of the program's own lookups where the user has chosen none; nil are
// the system's. A local service would have its queries captured, and wait for the tunnel that waits for it.
func (t *tunnel) outsideServers() func() []netip.AddrPort {
	if t == nil || !t.auto {
		return nil
	}
	return dialer.OutsideServers
}

// open opens the device, serves it, and leads traffic to it. fail is told when the device breaks later on.
func (t *tunnel) open(ctx context.Context, c *config.Config, f *fleet, fail func(error)) error {
	f.lookUp(ctx) // while queries go their ordinary way
	d, err := tun.Open(tun.DeviceOptions{Name: c.TUN.Device, MTU: c.TUN.MTU, NetNS: c.TUN.NetNS})
	if err != nil {
		return err
	}
	t.device.Store(d)
	guarding, stop := context.WithCancel(ctx)
	t.stop = stop
	t.serving.Go(func() { t.guard(guarding) })
	t.serving.Go(func() {
		if err := t.server.Serve(ctx, d); err != nil {
			t.failed.Store(true)
			fail(err)
		}
	})
	if err := t.lead(c, d); err != nil {
		t.close()
		return err
	}
	if err := t.preflight(f); err != nil {
		t.failed.Store(t.capture.WasBlocked())
		t.close()
		return err
	}
	t.tellResolved(ctx, d)
	t.log.InfoContext(ctx, "full tunnel", "device", d.Name(), "created", d.Created(), "routes", t.auto)
	return nil
}

// lead leads traffic to the device, or removes what a killed process left that did. Who has another namespace
// has no say over this one: a kill switch here is somebody else's.
func (t *tunnel) lead(c *config.Config, d *tun.Device) (err error) {
	if t.elsewhere {
		return nil
	}
	if !t.auto {
		removed, err := capture.Clean(t.log)
		if err != nil && !errors.Is(err, fs.ErrPermission) { // who may not look has left nothing either
			t.log.Warn("what an earlier run left cannot be removed", "removed", removed, "err", err)
		}
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.capture, err = capture.Apply(t.captureOptions(c, d))
	return err
}

// captureOptions translates the configuration. Queries are captured as long as there is somebody to answer
// them, which a reload does not change.
func (t *tunnel) captureOptions(c *config.Config, d *tun.Device) capture.Options {
	o := capture.Options{
		Device: d.Name(), Mark: c.Mark, Exclude: c.TUN.Exclude, DNS: t.names != nil, Strict: c.TUN.Strict,
		KillSwitch: c.TUN.KillSwitch, Forward: c.TUN.Forward, Log: t.log,
	}
	for _, r := range c.TUN.ExcludeUIDs {
		o.ExcludeUIDs = append(o.ExcludeUIDs, capture.UIDRange(r))
	}
	return o
}

// recapture leads traffic as another configuration wants. On an error it goes as before.
func (t *tunnel) recapture(c *config.Config) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.capture == nil {
		return nil
	}
	if err := t.capture.Update(t.captureOptions(c, t.device.Load())); err != nil {
		return fmt.Errorf("tun: %w", err)
	}
	return nil
}

// tellResolved has systemd-resolved, where it runs, ask through the device. It forgets that with the device.
func (t *tunnel) tellResolved(ctx context.Context, d *tun.Device) {
	if !t.auto || t.names == nil {
		return
	}
	neighbour := t.capture.Addr4().Addr().Next() // over the device, where every query is answered
	err := resolved.Lead(ctx, resolved.SystemBus, d.Index(), []netip.Addr{neighbour})
	if err != nil && !errors.Is(err, resolved.ErrAbsent) {
		t.log.WarnContext(ctx, "systemd-resolved not told of the tunnel", "err", err)
	}
}

// forgetResolved takes that back for a device that stays.
func (t *tunnel) forgetResolved() {
	d := t.device.Load()
	if d == nil || d.Created() || !t.auto || t.names == nil {
		return
	}
	err := resolved.Revert(context.Background(), resolved.SystemBus, d.Index())
	if err != nil && !errors.Is(err, resolved.ErrAbsent) {
		t.log.Warn("systemd-resolved not told that the tunnel ends", "err", err)
	}
}

// guard repairs what leads traffic to the device now and then, until ctx ends: when a firewall is flushed,
// nobody is told.
func (t *tunnel) guard(ctx context.Context) {
	ticker := time.NewTicker(repairEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			t.changed()
		case <-ctx.Done():
			return
		}
	}
}

// changed is told that the network of this host has changed: firewalls and network daemons remove at times
// what is not theirs.
func (t *tunnel) changed() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.capture == nil {
		return
	}
	repaired, err := t.capture.Repair()
	if repaired > 0 || err != nil {
		t.log.Warn("rules or routes of the tunnel had been removed", "restored", repaired, "err", err)
	}
}

// close leads traffic past the device again, resets the flows that came over it, and closes it.
func (t *tunnel) close() {
	if t == nil {
		return
	}
	if t.stop != nil {
		t.stop()
	}
	t.forgetResolved()
	t.release()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := t.server.Shutdown(now); err != nil {
		t.log.Info("flows of the tunnel cut", "err", err)
	}
	t.serving.Wait()
	if t.names != nil {
		_ = t.names.Close()
	}
}

// release leads traffic past the device again. Nothing does so behind the user's back when the tunnel has
// failed and there is a kill switch.
func (t *tunnel) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.capture == nil {
		return
	}
	release := t.capture.Close
	if t.failed.Load() {
		release = t.capture.Leave
	}
	if err := release(); err != nil {
		t.log.Error("not everything of the tunnel could be taken back", "err", err,
			"fix", "outline-cli-ws tun down")
	}
	t.capture = nil
}

// tunSettings translates the configuration. Where the gate has few places for associations, the one that was
// silent for longest makes room for a new one.
func (a *App) tunSettings(c *config.Config, m memory) tun.Settings {
	s := tun.Settings{
		Stream: a.balancer, Limits: relayLimits(c), Usable: a.usable, QUIC: a.ridesOnQUIC,
		MaxUDP: m.flows.Packets, Windows: m.tunnel,
	}
	if carriesPackets(c) {
		s.Packet = a.balancer
	}
	switch c.TUN.UDP443 {
	case config.UDP443Allow:
		s.UDP443 = tun.UDP443Allow
	case config.UDP443Block:
		s.UDP443 = tun.UDP443Block
	case config.UDP443Auto:
		s.UDP443 = tun.UDP443Auto
	}
	if a.tunnel.names != nil {
		s.DNS = a.tunnel.names
	}
	return s
}

// usable reports whether new flows of a protocol have somewhere to go.
func (a *App) usable(proto string) bool { return !a.Offline() && a.balancer.Usable(proto) }

// ridesOnQUIC reports whether datagrams go over HTTP/3 now. Over TCP a lost packet holds up all that follow,
// which QUIC takes for a worse loss and repeats too.
func (a *App) ridesOnQUIC() bool {
	record := a.balancer.CurrentPackets()
	for _, u := range a.facts.Load().fleet.units {
		if u.packet != nil && u.packet.Health == record {
			return u.packetBy.InUse() == carrier.H3
		}
	}
	return false
}

// lookUp has the addresses of all servers known, as far as they are to be had soon.
func (f *fleet) lookUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	var lookups sync.WaitGroup
	for _, host := range f.hosts() {
		lookups.Go(func() {
			if _, err := f.parts.sockets.LookupAddrs(ctx, host); err != nil {
				f.parts.log.WarnContext(ctx, "address of a server not known yet", "server", host, "err", err)
			}
		})
	}
	lookups.Wait()
}

// report is what reports say of the tunnel.
func (t *tunnel) report() (r report.Tunnel) {
	counters := new(tun.Counters)
	if t != nil {
		counters, r.AutoRoute = &t.server.Counters, t.auto
		if d := t.device.Load(); d != nil {
			r.Device = d.Name()
		}
	}
	s := counters.Snapshot()
	r.Traffic = report.Traffic{
		BytesIn: s.BytesIn, BytesOut: s.BytesOut, PacketsIn: s.PacketsIn, PacketsOut: s.PacketsOut,
	}
	r.Drops, r.Errors = s.Drops, s.Errors
	return r
}
