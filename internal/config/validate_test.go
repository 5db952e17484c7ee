package config

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	const open = "other hosts can reach this listener and use it without a password; " +
		"listen on 127.0.0.1, or set listen.socks5_users, or set listen.allow_open: true"
	user := func(name, password string) string {
		return "{username: " + name + ", password: " + password + "}"
	}
	tests := []struct{ name, file, want string }{
		{"open", "listen: {socks5: ':1080'}", "c.yaml:1: listen.socks5: " + open},
		{"open IPv6", "listen: {socks5: '[::]:1080'}", "c.yaml:1: listen.socks5: " + open},
		{
			"one of several open", "listen:\n  socks5:\n  - 127.0.0.1:1080\n  - 192.168.1.2:1080",
			"c.yaml:4: listen.socks5[1]: " + open,
		},
		{
			"open, index behind a mistake", "listen:\n  socks5:\n  - bad\n  - 192.168.1.2:1080",
			"c.yaml:3: listen.socks5[0]: want an address like 127.0.0.1:1080; is the port missing?\n" +
				"c.yaml:4: listen.socks5[1]: " + open,
		},
		{"open on purpose", "listen: {socks5: ':1080', allow_open: true}", ""},
		{"with users", "listen: {socks5: ':1080', socks5_users: [" + user("a", "b") + "]}", ""},
		{
			"allow_open is broken itself", "listen: {socks5: ':1080', allow_open: 5}",
			"c.yaml:1: listen.allow_open: got a number, want true or false",
		},
		{
			"twice", "listen: {socks5: ['127.0.0.1:1080', '127.0.0.1:01080', '[::1]:0', '[::1]:0']}",
			"c.yaml:1: listen.socks5[1]: is in the list twice",
		},
		{
			"IPv6 without brackets", "listen: {socks5: '::1:1080'}",
			"c.yaml:1: listen.socks5: an IPv6 address needs brackets before the port; like [::1]:1080",
		},
		{
			"users",
			"listen:\n  socks5_users:\n  - " + user(
				"a",
				"b",
			) + "\n  - " + user(
				"a",
				"c",
			) + "\n  - {username: d}\n" +
				"  - {password: e}\n  - " + user(
				strings.Repeat("x", 256),
				strings.Repeat("y", 256),
			) + "\n  - {}\n  -",
			"c.yaml:4: listen.socks5_users[1].username: is the name of socks5_users[0] already\n" +
				"c.yaml:5: listen.socks5_users[2].password: is missing\n" +
				"c.yaml:6: listen.socks5_users[3].username: is missing\n" +
				"c.yaml:7: listen.socks5_users[4].username: must be 255 bytes or less\n" +
				"c.yaml:7: listen.socks5_users[4].password: is longer than 255 bytes\n" +
				"c.yaml:8: listen.socks5_users[5].username: is missing\n" +
				"c.yaml:8: listen.socks5_users[5].password: is missing\n" +
				"c.yaml:9: listen.socks5_users[6]: is empty",
		},
		{"longest credentials", "listen: {socks5_users: [" +
			user(strings.Repeat("x", 255), strings.Repeat("y", 255)) + "]}", ""},
		{
			"min over default max", "healthcheck: {min_interval: 1m}",
			"c.yaml:1: healthcheck.min_interval: must not be above max_interval, which is 30s",
		},
		{
			"max below default min", "healthcheck: {max_interval: 100ms}",
			"c.yaml:1: healthcheck.max_interval: must not be below min_interval, which is 1s",
		},
		{"min is max", "healthcheck: {min_interval: 5s, max_interval: 5s}", ""},
		{
			"min is broken itself", "healthcheck: {min_interval: 5, max_interval: 1ms}",
			"c.yaml:1: healthcheck.min_interval: got a number, want a duration like 5s; " +
				"add a unit: ms, s, m or h",
		},
		{
			"hedge over default silence", "failover: {hedge: 2s}",
			"c.yaml:1: failover.hedge: must not be above silence, which is 1s",
		},
		{
			"silence below hedge", "failover:\n  hedge: 300ms\n  silence: 200ms",
			"c.yaml:3: failover.silence: must not be below hedge, which is 300ms",
		},
		{"hedge is silence", "failover: {hedge: 1s}", ""},
		{"hedge and no silence", "failover: {hedge: 2s, silence: 0}", ""},
		{
			"hedge over deadline, no silence", "failover: {hedge: 16s, silence: 0}",
			"c.yaml:1: failover.hedge: must not be above deadline, which is 15s",
		},
		{
			"silence over default deadline", "failover: {silence: 16s}",
			"c.yaml:1: failover.silence: must not be above deadline, which is 15s",
		},
		{
			"deadline below default silence", "failover: {deadline: 500ms}",
			"c.yaml:1: failover.deadline: must not be below silence, which is 1s",
		},
		{"no deadline", "failover: {deadline: 0}", "c.yaml:1: failover.deadline: must be more than 0"},
		{
			"all of it off", "disable_probes: true\nfailover: {silence: 0, hedge: 0, replay: never}\n" +
				"probe: {enable_tcp: false, enable_udp: false, tcp_target: [], udp_target: '', dns_name: ''}",
			"",
		},
		{
			"tun without device",
			"tun: {enable: true, device: ''}",
			"c.yaml:1: tun.device: is empty, and tun.enable is true",
		},
		{"no tun, no device", "tun: {enable: false, device: ''}", ""},
		{
			"UDP probe without name", "probe: {dns_name: '', udp_target: []}",
			"c.yaml:1: probe.dns_name: is empty; probe.enable_udp: false switches UDP probes off\n" +
				"c.yaml:1: probe.udp_target: is empty; probe.enable_udp: false switches UDP probes off",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(tt.file+minimal), Checks{})
			if tt.want != "" {
				wantText(t, err, tt.want)
				return
			}
			if err != nil {
				t.Errorf("Parse = %v, want no error", err)
			}
		})
	}
}

func TestUpstreamFields(t *testing.T) {
	c := parse(t, `
upstreams:
  - udp_wss: ws://a.example/p
    cipher: x
    secret: 2001-01-01
    prefix: "\x16\x03\xff"
    half_close: Defer
    headers: {host: front.example, X-Empty: "", X-Number: 5}
    tls:
      pin_sha256: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
`)
	u := c.Upstreams[0]
	if got, want := u.Secret.Reveal(), "2001-01-01"; got != want {
		t.Errorf("secret = %q, want %q", got, want)
	}
	if got, want := string(u.Prefix), "\x16\x03\xff"; got != want {
		t.Errorf("prefix = %q, want %q", got, want)
	}
	if u.HalfClose != HalfCloseDefer || len(u.TLS.PinSHA256) != 1 || u.TLS.PinSHA256[0][0] != 0xe3 {
		t.Errorf("upstream = %+v, want defer and one pin", u)
	}
	got := map[string]string{}
	for name, value := range u.Headers {
		got[name] = value.Reveal()
	}
	if len(got) != 3 || got["Host"] != "front.example" || got["X-Empty"] != "" || got["X-Number"] != "5" {
		t.Errorf("headers = %q, want Host, X-Empty and X-Number", got)
	}
}

func TestHeaderWithoutValue(t *testing.T) {
	const file = "upstreams:\n- tcp_wss: wss://a.example\n  cipher: c\n  secret: s\n" +
		"  headers: {Authorization: Bearer a,b}\n"
	_, err := Parse("c.yaml", []byte(file), Checks{})
	wantText(t, err, "c.yaml:5: upstreams[0].headers.…: got nothing, want text")
}

func TestHeadersOfTheHandshake(t *testing.T) {
	for _, name := range []string{
		"Connection", "upgrade", "SEC-WEBSOCKET-KEY", "Sec-WebSocket-Protocol", "sec-websocket-anything",
		"Content-Length", "transfer-encoding", "TE",
	} {
		_, err := Parse(
			"c.yaml",
			[]byte("upstreams:\n- tcp_wss: wss://a.example\n  cipher: c\n  secret: s\n  headers:\n    "+
				name+": x\n"),
			Checks{},
		)
		wantText(t, err, "c.yaml:6: upstreams[0].headers."+name+
			": this header belongs to the WebSocket handshake and cannot be set")
	}
}
