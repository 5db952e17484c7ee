package app

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
)

// errLoop says that the way to a server leads into the tunnel that needs it.
var errLoop = errors.New("the way to an upstream leads into the tunnel itself")

// preflight looks whether the servers can be reached past the tunnel, where that is up to this program.
func (t *tunnel) preflight(f *fleet) error {
	if !t.auto {
		return nil
	}
	if inside := t.inside(f.ways()); len(inside) > 0 {
		return fmt.Errorf("%w: %s", errLoop, inside[0])
	}
	return nil
}

// inside are the hosts to which a way leads into the tunnel, in order.
func (t *tunnel) inside(w ways) (hosts []string) {
	d := t.device.Load()
	if d == nil || t.elsewhere {
		return nil
	}
	for _, host := range slices.Sorted(maps.Keys(w)) {
		if slices.ContainsFunc(w[host], func(r dialer.Route) bool { return r.Link == d.Index() }) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// outside leaves out the ways that lead into the tunnel: to a server they are none, and whoever took one
// would go round in circles, a new connection each time. The user is told when there are some, and how to
// have others.
func (t *tunnel) outside(w ways) ways {
	if t == nil {
		return w
	}
	hosts := t.inside(w)
	if looped := t.looped.Swap(len(hosts) > 0); len(hosts) > 0 && !looped {
		t.log.Warn("a server cannot be reached past the tunnel",
			"server", hosts[0], "err", errLoop, "fix", t.wayOut())
	}
	for _, host := range hosts {
		index := t.device.Load().Index()
		w[host] = slices.DeleteFunc(w[host], func(r dialer.Route) bool { return r.Link == index })
	}
	return w
}

// wayOut are the user's next steps.
func (t *tunnel) wayOut() string {
	if t.marked == 0 {
		return "set fwmark: 123 and run: ip rule add fwmark 123 lookup 100; " +
			"ip route add default via GATEWAY table 100"
	}
	return fmt.Sprintf("ip rule add fwmark %d lookup 100; "+
		"ip route add default via GATEWAY table 100", t.marked)
}
