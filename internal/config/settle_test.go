package config

import (
	"slices"
	"strings"
	"testing"
)

func TestWhoListens(t *testing.T) {
	const (
		off = "SOCKS5 is off: tun is on and listen.socks5 is not set"
	)
	tests := []struct {
		name, file string
		socks5     string
		tun        bool
		note       string
	}{
		{"nothing said", "", "127.0.0.1:1080", false, ""},
		{"null", "listen: {socks5: null}", "127.0.0.1:1080", false, ""},
		{"one", "listen: {socks5: '127.0.0.1:1081'}", "127.0.0.1:1081", false, ""},
		{"two", "listen: {socks5: ['127.0.0.1:1080', '[::1]:1080']}", "127.0.0.1:1080 [::1]:1080", false, ""},
		{"off", "listen: {socks5: ''}", "", false, ""},
		{"empty list", "listen: {socks5: []}", "", false, ""},
		{"tun", "tun: {enable: true}", "", true, off},
		{"tun and off", "tun: {enable: true}\nlisten: {socks5: ''}", "", true, ""},
		{
			"tun and SOCKS5",
			"tun: {enable: true}\nlisten: {socks5: 'localhost:1080'}",
			"localhost:1080",
			true,
			"",
		},
		{"device alone", "tun: {device: tun3}", "", true, off},
		{"empty device alone", "tun: {device: ''}", "127.0.0.1:1080", false, ""},
		{"device but no tun", "tun: {device: tun3, enable: false}", "127.0.0.1:1080", false, ""},
		{"device, enable null", "tun: {device: tun3, enable: null}", "", true, off},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, tt.file+minimal)
			if got := strings.Join(c.Listen.SOCKS5, " "); got != tt.socks5 || c.TUN.Enable != tt.tun {
				t.Errorf("SOCKS5 = %q and TUN = %v, want %q and %v", got, c.TUN.Enable, tt.socks5, tt.tun)
			}
			if got := strings.Join(c.Notes, "; "); got != tt.note {
				t.Errorf("Notes = %q, want %q", got, tt.note)
			}
		})
	}
}

func TestTablesNameKeysOfTheSchema(t *testing.T) {
	keys := leaves()
	for _, key := range deprecated {
		if !slices.Contains(keys, key) {
			t.Errorf("deprecated holds %s, which is no key", key)
		}
	}
}

func TestDeprecated(t *testing.T) {
	c := parse(t, "tun: {debug: false, udp_gc_interval: 0, udp_max_flows: null}"+minimal)
	if got, want := strings.Join(c.Deprecated, " "), "tun.debug tun.udp_gc_interval"; got != want {
		t.Errorf("Deprecated = %q, want %q", got, want)
	}
}

func TestNames(t *testing.T) {
	entry := func(name, url string) string {
		return "- {name: " + name + ", udp_wss: '" + url + "', cipher: c, secret: s}\n"
	}
	c := parse(t, "upstreams:\n"+
		entry("null", "wss://a.example:8443/1")+entry("a.example-2", "wss://b.example/2")+
		entry("null", "wss://a.example/3")+entry("null", "wss://[2001:db8::1]/4")+
		entry("null", "wss://a.example/5")+entry("a.example-4", "wss://c.example/6"))
	var got []string
	for _, u := range c.Upstreams {
		got = append(got, u.Name)
	}
	want := strings.Fields("a.example a.example-2 a.example-3 2001:db8::1 a.example-5 a.example-4")
	if !slices.Equal(got, want) {
		t.Errorf("names = %q, want %q", got, want)
	}
}
