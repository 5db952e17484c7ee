package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTUNKeys(t *testing.T) {
	c, err := Parse("c.yaml", []byte(`tun:
  enable: true
  auto_route: yes
  strict: true
  kill_switch: true
  forward: true
  exclude: [192.0.2.7, "2001:db8::1/32", 198.51.100.99/24]
  exclude_uids: [1000, 2000-2999]
  udp443: block
  dns: {capture: true, servers: [9.9.9.10, "[2620:fe::10]:5353"]}
`+minimal), Checks{})
	if err != nil {
		t.Fatal(err)
	}
	want := defaultTUN()
	want.Enable, want.AutoRoute = true, AutoRouteOn
	want.Strict, want.KillSwitch, want.Forward = true, true, true
	want.Exclude = []netip.Prefix{
		netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32"),
		netip.MustParsePrefix("198.51.100.0/24"),
	}
	want.ExcludeUIDs = []UIDRange{{1000, 1000}, {2000, 2999}}
	want.UDP443 = UDP443Block
	want.DNS.Servers = []netip.AddrPort{
		netip.MustParseAddrPort("9.9.9.10:53"), netip.MustParseAddrPort("[2620:fe::10]:5353"),
	}
	if diff := cmp.Diff(want, c.TUN, cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{})); diff != "" {
		t.Errorf("tun (-want +got):\n%s", diff)
	}
	other := want
	other.Strict, other.Exclude, other.UDP443 = false, nil, UDP443Auto
	if !want.SameDevice(other) {
		t.Error("what can change under a device counts as another one")
	}
	if other.DNS.Servers = nil; want.SameDevice(other) {
		t.Error("other name servers count for nothing")
	}
}

func TestTUNMistakes(t *testing.T) {
	for text, want := range map[string]string{ // without the file and the line
		"auto_route: maybe":                   "tun.auto_route: got text, want true or false",
		"exclude: 0.0.0.0/0":                  "tun.exclude: must not be everything",
		"exclude: somewhere":                  "tun.exclude: got text, want a network like 192.0.2.0/24",
		"exclude_uids: 9-1":                   "tun.exclude_uids: the first user id must",
		"exclude_uids: root":                  "tun.exclude_uids: got text, want a user id",
		"udp443: never":                       "tun.udp443: want auto, allow or block",
		"auto_route: false, kill_switch: yes": "tun.kill_switch: needs the routes",
		"auto_route: false, forward: yes":     "tun.forward: needs the routes",
		"dns: {servers: []}":                  "tun.dns.servers: is empty",
		`device: ""`:                          "tun.device: is empty",
	} {
		t.Run(text, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte("tun: {enable: true, "+text+"}"+minimal), Checks{})
			if err == nil || !strings.HasPrefix(err.Error(), "c.yaml:1: "+want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}
