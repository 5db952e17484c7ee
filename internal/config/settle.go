package config

import "strconv"

// deprecated are keys of the earlier client that are accepted and mean nothing here.
var deprecated = []string{
	"tun.debug",
	"tun.udp_max_flows",
	"tun.udp_max_dst_per_port",
	"tun.udp_idle_timeout",
	"tun.udp_flow_idle_timeout",
	"tun.udp_gc_interval",
}

// settle gives values to keys whose defaults depend on other keys, and says what the file did not get.
func (d *decoder) settle(c *Config) {
	if !d.has("tun.enable") && d.has("tun.device") && c.TUN.Device != "" {
		c.TUN.Enable = true // older files have no tun.enable
	}
	if !d.has("status.enable") && d.has("status.listen") && c.Status.Listen != "" {
		c.Status.Enable = true
	}
	if c.TUN.Enable && !d.has("listen.socks5") {
		c.Listen.SOCKS5 = nil
		c.Notes = append(c.Notes, "SOCKS5 is off: tun is on and listen.socks5 is not set")
	}
	d.sortOut(c)
	nameUpstreams(c.Upstreams)
}

// sortOut lists the keys of the file that are without effect.
func (d *decoder) sortOut(c *Config) {
	for _, key := range deprecated {
		if d.has(key) {
			c.Deprecated = append(c.Deprecated, key)
		}
	}
}

// has reports whether the file sets a key to anything but null, be it right or wrong.
func (d *decoder) has(path string) bool {
	_, ok := d.places[path]
	return ok
}

// nameUpstreams names those without a name after the host of their URL, with -2, -3 and so on where it is
// taken.
func nameUpstreams(upstreams []Upstream) {
	taken := make(map[string]bool, len(upstreams))
	for _, u := range upstreams {
		taken[u.Name] = true
	}
	next := make(map[string]int) // by host; counting up from it keeps many upstreams of one host cheap
	for i := range upstreams {
		u := &upstreams[i]
		if u.Name != "" {
			continue
		}
		host := u.TCP.host()
		if host == "" {
			host = u.UDP.host()
		}
		name := host
		for n := max(2, next[host]); taken[name]; n++ {
			name = host + "-" + strconv.Itoa(n)
			next[host] = n + 1
		}
		u.Name = name
		taken[name] = true
	}
}
