package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/wake"
)

const (
	// lookEvery is how often the routes are looked at while there are none, in case that nobody tells.
	lookEvery = 500 * time.Millisecond
	// askTime is how long the peers of TCP connections are asked for a sign of life after a change.
	askTime = 4 * time.Second
)

// anywhere stands for servers whose addresses are not known yet: root name servers, to which nothing is sent.
var anywhere = [...]string{"198.41.0.4", "2001:503:ba3e::2:30"}

// network watches what this host's network is, and does what follows from a change:
//
//	online --no route to any server--> offline: standby and probes rest, dials fail at once
//	offline --a route--> online: all begins anew
//	online --another route, or time that went by unseen--> online: all begins anew
//
// To begin anew is to end connections from addresses that are gone, to ask the others for a sign of life, to
// replace standby and to probe all paths at once.
type network struct {
	sockets *dialer.Sockets // of all fleets
	probing *probing
	survey  func(*fleet) ways
	log     *slog.Logger
	offline atomic.Bool
	changed func() // told of every change, whatever follows from it

	mu    sync.Mutex // held while something is done; never taken by whoever is told
	fleet *fleet
	seen  ways
}

// ways are the routes to the servers, by host. A host without addresses is not there.
type ways map[string][]dialer.Route

// use has the fleet be looked after from now on.
func (n *network) use(f *fleet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fleet = f
	if n.offline.Load() {
		f.rest()
	}
}

// run looks at the network when it or the clock has changed, until ctx ends.
func (n *network) run(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	causes := make(chan wake.Cause)
	watching.Go(func() { wake.Run(ctx, n.log, causes) })
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	relax := time.NewTimer(askTime)
	defer relax.Stop()
	for {
		select {
		case cause := <-causes:
			n.changed()
			if n.look(cause) {
				relax.Reset(askTime)
			}
		case <-ticker.C:
			if n.offline.Load() && n.look(wake.Network) {
				relax.Reset(askTime)
			}
		case <-relax.C:
			n.sockets.Relax()
		case <-ctx.Done():
			return
		}
	}
}

// look does what follows from the routes of the moment. It reports whether all began anew.
func (n *network) look(cause wake.Cause) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	before, now := n.seen, n.survey(n.fleet)
	n.seen = now
	offline := n.offline.Load()
	switch {
	case now.none(n.fleet.hosts()):
		if !offline {
			n.rest()
		}
		return false
	case offline:
		n.log.Info("network is back")
	case cause == wake.Clock || now.differ(before):
		n.log.Info("network changed", "reason", cause.String())
	default:
		return false
	}
	n.renew()
	return true
}

// rest has nothing tried. The caller holds mu.
func (n *network) rest() {
	n.log.Warn("no network")
	n.offline.Store(true)
	n.fleet.rest()
	n.probing.rest()
}

// renew has all begin anew. The caller holds mu.
func (n *network) renew() {
	n.offline.Store(false)
	n.fleet.renew(time.Now())
	n.sockets.Drop()
	n.sockets.Ask()
	n.probing.again()
}

// none reports whether the addresses of all hosts are known, and no route leads to any.
func (w ways) none(hosts []string) bool {
	for _, host := range hosts {
		if routes, known := w[host]; !known || len(routes) > 0 {
			return false
		}
	}
	return len(hosts) > 0
}

// differ reports whether there are other routes to any host than before.
func (w ways) differ(before ways) bool {
	for host, routes := range w {
		if was, known := before[host]; known && !slices.Equal(was, routes) {
			return true
		}
	}
	return false
}

// hosts are those of the servers.
func (f *fleet) hosts() (hosts []string) {
	for _, u := range f.units {
		hosts = append(hosts, u.hosts...)
	}
	return hosts
}

// ways looks at the routes to the servers.
func (f *fleet) ways() ways {
	found := make(ways)
	look := func(host string) {
		if routes, known := f.parts.sockets.Routes(host); known {
			found[host] = routes
		}
	}
	hosts := f.hosts()
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	for _, host := range hosts {
		look(host)
	}
	if len(found) < len(hosts) {
		for _, host := range anywhere {
			look(host)
		}
	}
	return found
}

// rest has nothing tried before renew. What is open stays open.
func (f *fleet) rest() {
	for _, u := range f.units {
		u.up.Rest()
	}
	f.parts.sockets.Rest()
}

// renew has all that was tried on the network before begin anew.
func (f *fleet) renew(now time.Time) {
	f.parts.sockets.Renew()
	for _, u := range f.units {
		u.renew(now)
	}
}

// renew is for one upstream. Shared connections come before standby, which opens streams on them.
func (u *unit) renew(now time.Time) {
	for _, record := range u.records() {
		record.Renew(now)
	}
	u.memory.Renew()
	for _, shared := range u.shared {
		shared.Renew()
	}
	u.up.Renew()
}
