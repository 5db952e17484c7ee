package config

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// validate reports what is wrong between keys. What is wrong with one value alone was reported when it was
// read, so a key that has a problem already is left alone.
func (d *decoder) validate(c *Config, top *yaml.Node) {
	d.validateListen(&c.Listen)
	d.validateUsers(c.Listen.SOCKS5Users)
	if len(c.Upstreams) == 0 {
		d.missing(d.child("upstreams", top), "there are no upstreams; the file needs at least one")
	}
	d.validateUpstreams(c.Upstreams)
	d.validateFailover(&c.Failover)
	d.validateHealth(&c.Health)
	d.validateProbe(&c.Probe)
	d.validateStatus(&c.Status)
	d.validateTUN(&c.TUN)
}

// child is the place of a key, or, when the key is absent, its path at the node that should have it.
func (d *decoder) child(path string, parent *yaml.Node) place {
	if at, ok := d.places[path]; ok {
		return at
	}
	return place{path, parent}
}

// missing reports a problem of a place that has none yet.
func (d *decoder) missing(at place, message string) {
	if !d.failed[at.path] {
		d.problem(at, "%s", message)
	}
}

func (d *decoder) validateListen(l *Listen) {
	seen := make(map[string]bool)
	for i, listener := range l.SOCKS5 {
		at := d.places["listen.socks5"]
		if entry, ok := d.places[at.index(i, nil).path]; ok {
			at = entry
		}
		if seen[listener] && !strings.HasSuffix(listener, ":0") {
			d.problem(at, "is in the list twice")
		}
		seen[listener] = true
		if !l.Exposes(listener) || d.failed["listen.allow_open"] || d.failed["listen.socks5_users"] {
			continue
		}
		d.mistake(at, &mistake{
			"other hosts can reach this listener and use it without a password",
			"listen on 127.0.0.1, or set listen.socks5_users, or set listen.allow_open: true",
		})
	}
}

func (d *decoder) validateUsers(users []User) {
	first := make(map[string]int)
	for i, u := range users {
		at := d.places["listen.socks5_users"].index(i, nil)
		at = d.places[at.path]
		if at.node == nil || d.failed[at.path] {
			continue
		}
		if u.Username == "" {
			d.missing(d.child(at.path+".username", at.node), "is missing")
		}
		if u.Password.IsZero() {
			d.missing(d.child(at.path+".password", at.node), "is missing")
		}
		if j, twice := first[u.Username]; twice && u.Username != "" {
			d.problem(d.child(at.path+".username", at.node), "is the name of socks5_users[%d] already", j)
			continue
		}
		first[u.Username] = i
	}
}

func (d *decoder) validateUpstreams(upstreams []Upstream) {
	named := make(map[string]int)
	for i := range upstreams {
		at, ok := d.places[place{path: "upstreams"}.index(i, nil).path]
		if !ok || d.failed[at.path] {
			continue
		}
		d.validateUpstream(at, &upstreams[i])
		name := d.child(at.path+".name", at.node)
		if !d.has(name.path) || d.failed[name.path] {
			continue
		}
		if j, twice := named[upstreams[i].Name]; twice {
			d.problem(name, "is the name of upstreams[%d] already", j)
			continue
		}
		named[upstreams[i].Name] = i
	}
}

func (d *decoder) validateUpstream(at place, u *Upstream) {
	tcp, udp := at.path+".tcp_wss", at.path+".udp_wss"
	if u.TCP.IsZero() && u.UDP.IsZero() && !d.failed[tcp] && !d.failed[udp] {
		d.problem(at, "needs tcp_wss, udp_wss or both")
	}
	cipher := d.child(at.path+".cipher", at.node)
	if u.Cipher == "" {
		d.missing(cipher, "is missing")
	}
	d.validateSecret(at, u)
	if len(u.Prefix) == 0 || d.checks.Prefix == nil || d.failed[cipher.path] {
		return
	}
	if err := d.checks.Prefix(u.Cipher, u.Prefix); err != nil {
		d.problem(d.child(at.path+".prefix", at.node), "%v", err)
	}
}

// validateSecret wants one place for the secret. Which one is meant cannot be told when there are two.
func (d *decoder) validateSecret(at place, u *Upstream) {
	secret, file := d.child(at.path+".secret", at.node), d.child(at.path+".secret_file", at.node)
	switch {
	case d.has(secret.path) && u.SecretFile != "":
		d.problem(file, "secret is set too, want one of them")
	case u.Secret.IsZero() && !d.failed[file.path]:
		d.missing(secret, "is missing")
	}
}

// bound is a duration that limits another one of its section.
type bound struct {
	section, name string
	value         time.Duration
}

func (b bound) path() string { return b.section + "." + b.name }

// ordered reports low when it is above high, at the one that the file sets; high when it sets both.
func (d *decoder) ordered(low, high bound) {
	if low.value <= high.value || d.failed[low.path()] || d.failed[high.path()] {
		return
	}
	if at, ok := d.places[high.path()]; ok {
		d.problem(at, "must not be below %s, which is %v", low.name, low.value)
		return
	}
	d.problem(d.places[low.path()], "must not be above %s, which is %v", high.name, high.value)
}

func (d *decoder) validateHealth(h *Health) {
	d.ordered(
		bound{"healthcheck", "min_interval", h.MinInterval},
		bound{"healthcheck", "max_interval", h.MaxInterval},
	)
}

// validateFailover finds times that would never come.
func (d *decoder) validateFailover(f *Failover) {
	hedge := bound{"failover", "hedge", f.Hedge}
	silence := bound{"failover", "silence", f.Silence}
	deadline := bound{"failover", "deadline", f.Deadline}
	d.ordered(silence, deadline)
	if f.Silence == 0 { // never
		d.ordered(hedge, deadline)
		return
	}
	d.ordered(hedge, silence)
}

func (d *decoder) validateProbe(p *Probe) {
	if p.EnableTCP && len(p.TCPTargets) == 0 {
		d.missing(d.places["probe.tcp_target"], "is empty; probe.enable_tcp: false switches TCP probes off")
	}
	if p.EnableUDP && len(p.UDPTargets) == 0 {
		d.missing(d.places["probe.udp_target"], "is empty; probe.enable_udp: false switches UDP probes off")
	}
	if p.EnableUDP && p.DNSName == "" {
		d.missing(d.places["probe.dns_name"], "is empty; probe.enable_udp: false switches UDP probes off")
	}
}
