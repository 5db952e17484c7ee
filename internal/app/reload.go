package app

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/socks5"
)

// ErrStopping says that the program is about to end, and takes no other configuration.
var ErrStopping = errors.New("the program is stopping")

// ReloadFile reloads what Load returns, and has reports tell how that went.
func (a *App) ReloadFile() error {
	a.loading.Lock() // what is read last is in force in the end
	defer a.loading.Unlock()
	ended := a.reloadBegins()
	c, err := a.Load()
	if err == nil {
		err = a.Reload(c)
	}
	a.reloaded(err)
	ended(err) // whoever waits for that may look at the report next
	return err
}

// reloaded has reports tell how a reload went.
func (a *App) reloaded(err error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.reloads.At, a.reloads.Err = time.Now(), ""
	if err != nil {
		a.reloads.Failed++
		a.reloads.Err = err.Error()
	} else {
		a.reloads.OK++
	}
	a.publish()
}

// errMark says why a reload is refused: for a moment the program's own connections would go into the tunnel.
var errMark = errors.New("fwmark cannot change while the full tunnel is up: restart the program")

// Reload puts another configuration in the place of the one in force. Upstreams that stayed the same go on
// with their health, connections and flows, and so do listeners; flows on what was taken out go on to their
// end. When it returns an error, nothing has changed.
func (a *App) Reload(c *config.Config) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if err := a.admissible(c); err != nil {
		return err
	}
	defer a.forgetGone()
	p, err := a.plan(c, a.fleet)
	if err != nil {
		return err
	}
	if err := a.tunnel.recapture(c); err != nil {
		return err
	}
	if err := a.listenAt(a.places(c)); err != nil {
		return errors.Join(err, a.tunnel.recapture(a.config))
	}
	before := a.config
	a.apply(p)
	a.announce(c)
	if keys := needRestart(before, c); len(keys) > 0 {
		a.log.Warn("keys that take effect with a restart only", "keys", keys)
	}
	a.log.Info("configuration reloaded", "upstreams", len(p.fleet.units))
	return nil
}

// admissible says why a configuration cannot be put into force by this program as it runs.
func (a *App) admissible(c *config.Config) error {
	switch {
	case a.stopped || a.serving == nil:
		return ErrStopping
	case len(c.Listen.SOCKS5) == 0 && a.tunnel == nil:
		return errNothingToDo
	case a.tunnel != nil && a.tunnel.auto && c.Mark != a.config.Mark:
		return errMark
	}
	return a.service.admissible(&c.Listen)
}

// plan is all that takes the place of what is in force. Nothing in it is open.
type plan struct {
	config   *config.Config
	fleet    *fleet
	prober   *health.Prober
	settings socks5.Settings
}

// plan makes the objects of a configuration, and shares with the fleet of the one before what stayed.
func (a *App) plan(c *config.Config, before *fleet) (p plan, err error) {
	p.config = c
	if p.fleet, err = before.next(c, a.gone); err != nil {
		return p, err
	}
	if p.settings, err = socksSettings(c, a.balancer); err != nil {
		return p, err
	}
	m := p.fleet.memory
	p.settings.MaxOutside, p.settings.SocketBuffer = m.outside, m.socket
	p.prober, err = newProber(c, p.fleet, a.log)
	return p, err
}

// apply puts a plan into force.
func (a *App) apply(p plan) {
	o := balancerOptions(p.config)
	o.Trouble = a.probing.trouble
	a.probing.use(p.prober)
	a.probing.acquit(p.fleet)
	a.balancer.Update(p.fleet.members(p.config), o)
	a.server.Update(p.settings)
	a.heap.use(p.fleet.memory.heap)
	a.gate.Update(p.fleet.memory.flows)
	if a.tunnel != nil {
		a.tunnel.server.Update(a.tunSettings(p.config, p.fleet.memory))
	}
	a.state.use(p.fleet)
	a.network.use(p.fleet)
	a.api.use(a.statusOptions(p.config))
	a.config, a.fleet = p.config, p.fleet
	a.publish()
}

// forgetGone ends the figures of upstreams that are not in force, or were not to be after all. The caller
// holds reloading.
func (a *App) forgetGone() {
	for _, name := range a.tallies.retain(a.fleet) {
		a.metrics.Forget(name)
	}
}

// listenAt opens the listeners that are new and shuts those that are not wanted any more. When it returns an
// error, those from before are open.
func (a *App) listenAt(wanted []place) error {
	var old []place
	for p := range a.doors {
		if !slices.Contains(wanted, p) {
			old = append(old, p)
		}
	}
	slices.SortFunc(old, comparePlaces)
	fresh, err := listenAll(a.serving, wanted, a.doors)
	if inUse := errors.Is(err, syscall.EADDRINUSE); inUse || err == nil {
		for _, p := range old {
			a.shut(p)
		}
		if inUse { // perhaps by one of ours: 0.0.0.0 does not go beside 127.0.0.1
			fresh, err = listenAll(a.serving, wanted, a.doors)
		}
	}
	if err != nil {
		again, againErr := listenAll(a.serving, old, a.doors)
		a.open(again)
		return errors.Join(err, againErr)
	}
	for _, p := range old {
		a.log.Info("not listening any more", "inbound", p.kind, "addr", p.addr)
	}
	a.open(fresh)
	return nil
}

// gone closes a unit that nobody uses any more.
func (a *App) gone(u *unit) { a.closing.Go(u.shut) }

// needRestart names what differs and cannot change under a running program.
func needRestart(before, after *config.Config) (keys []string) {
	if before.Log != after.Log {
		keys = append(keys, "log")
	}
	if before.WebSocket != after.WebSocket {
		keys = append(keys, "websocket")
	}
	if before.StateFile != after.StateFile {
		keys = append(keys, "state_file")
	}
	if !before.TUN.SameDevice(after.TUN) {
		keys = append(keys, "tun")
	}
	return keys
}
