package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// earlierKeys is every key that the file of the earlier client could have.
var earlierKeys = strings.Fields(`
	listen.socks5 fwmark websocket.debug disable_probes
	tun.enable tun.device tun.mtu tun.netns tun.debug tun.udp_max_flows tun.udp_max_dst_per_port
	tun.udp_idle_timeout tun.udp_flow_idle_timeout tun.udp_gc_interval
	selection.sticky_ttl selection.cooldown selection.min_switch
	selection.warm_standby_n selection.warm_standby_interval
	selection.standby_keepalive selection.standby_keepalive_interval selection.standby_keepalive_probe_timeout
	healthcheck.interval healthcheck.timeout healthcheck.fail_threshold healthcheck.success_threshold
	healthcheck.min_interval healthcheck.max_interval healthcheck.jitter healthcheck.backoff_factor
	healthcheck.rtt_scale
	probe.enable_tcp probe.enable_udp probe.timeout
	probe.tcp_target probe.udp_target probe.dns_name probe.dns_type
	upstreams[0].name upstreams[0].weight upstreams[0].tcp_wss upstreams[0].udp_wss upstreams[0].cipher
	upstreams[0].secret`)

func TestFileOfTheEarlierClientLoads(t *testing.T) {
	got, d := decode(t, readFile(t, "testdata/compat.yaml"))
	for _, key := range earlierKeys {
		if !d.has(key) {
			t.Errorf("testdata/compat.yaml does not set %s", key)
		}
	}
	want := Config{
		Listen:        Listen{SOCKS5: []string{"127.0.0.1:1080"}},
		Log:           Default().Log,
		Mark:          123,
		DialTimeout:   10 * time.Second,
		MemoryLimit:   MemoryAuto,
		DisableProbes: true,
		WebSocket:     WebSocket{Debug: true},
		TUN: TUN{
			Enable: true, Device: "tun1", MTU: 1400, NetNS: "/run/netns/vpn",
			Debug: true, UDPMaxFlows: 2048, UDPMaxDstPerPort: 256, UDPIdleTimeout: 90 * time.Second,
			UDPFlowIdleTimeout: 45 * time.Second, UDPGCInterval: 15 * time.Second,
			UDP443: UDP443Auto, DNS: defaultTUN().DNS,
		},
		Selection: Selection{
			StickyTTL: 2 * time.Minute, Cooldown: 30 * time.Second, MinSwitch: 50 * time.Millisecond,
			Affinity: Default().Selection.Affinity, WarmStandbyN: 3, WarmStandbyInterval: 3 * time.Second,
			StandbyKeepalive: false, StandbyKeepaliveInterval: 20 * time.Second,
			StandbyKeepaliveProbeTimeout: 1500 * time.Millisecond,
		},
		Health: Health{
			Interval: 10 * time.Second, Timeout: 4 * time.Second, FailThreshold: 3, SuccessThreshold: 2,
			MinInterval: 2 * time.Second, MaxInterval: time.Minute, Jitter: 300 * time.Millisecond,
			BackoffFactor: 2, RTTScale: 0.5,
		},
		Probe: Probe{
			EnableTCP: false, EnableUDP: true, Timeout: 2500 * time.Millisecond,
			TCPTargets: []string{"example.org:80"}, UDPTargets: []string{"[2606:4700:4700::1111]:53"},
			DNSName: "example.org", DNSType: "AAAA",
		},
		Status:   Default().Status,
		Failover: Default().Failover,
		Relay:    Default().Relay,
		Pool:     Default().Pool,
		Upstreams: []Upstream{
			{
				Name: "server-1", Weight: 1, HalfClose: HalfCloseFrame,
				TCP:    NewURL("wss://example.com/TCP_PATH?h2=only"),
				UDP:    NewURL("wss://example.com/UDP_PATH?h2=only"),
				Cipher: "chacha20-ietf-poly1305", Secret: NewSecret("YOUR_SECRET"),
			},
			{
				Name: "server-2", Weight: 0.5, HalfClose: HalfCloseFrame,
				TCP:    NewURL("wss://[2001:db8::1]:443/TCP_PATH?h3=1&origin=https://a.example"),
				Cipher: "aes-256-gcm", Secret: NewSecret("12345"),
			},
		},
		Deprecated: strings.Fields(`tun.debug tun.udp_max_flows tun.udp_max_dst_per_port tun.udp_idle_timeout
			tun.udp_flow_idle_timeout tun.udp_gc_interval`),
	}
	same(t, got, &want)
}

func TestDefaults(t *testing.T) {
	got := parse(t, minimal)
	want := Config{
		Listen:      Listen{SOCKS5: []string{"127.0.0.1:1080"}},
		Log:         Log{Format: "auto", Level: 0},
		DialTimeout: 10 * time.Second,
		MemoryLimit: MemoryAuto,
		TUN: TUN{
			Device:             "tun0",
			MTU:                1500,
			UDPMaxFlows:        4096,
			UDPMaxDstPerPort:   512,
			UDPIdleTimeout:     60 * time.Second,
			UDPFlowIdleTimeout: 30 * time.Second,
			UDPGCInterval:      10 * time.Second,
			UDP443:             "auto",
			DNS: TunnelDNS{Capture: true, Servers: []netip.AddrPort{
				netip.MustParseAddrPort("1.1.1.1:53"), netip.MustParseAddrPort("9.9.9.9:53"),
			}},
		},
		Selection: Selection{
			StickyTTL: 60 * time.Second, Cooldown: 20 * time.Second, MinSwitch: 20 * time.Millisecond,
			Affinity: "none", CloseOld: false,
			WarmStandbyN: 2, WarmStandbyInterval: 2 * time.Second, StandbyKeepalive: true,
			StandbyKeepaliveInterval: 15 * time.Second, StandbyKeepaliveProbeTimeout: 1200 * time.Millisecond,
		},
		Failover: Failover{Silence: time.Second, Hedge: 0, Replay: "safe", Deadline: 15 * time.Second},
		Health: Health{
			Interval: 5 * time.Second, Timeout: 3 * time.Second, FailThreshold: 2, SuccessThreshold: 1,
			MinInterval: time.Second, MaxInterval: 30 * time.Second, Jitter: 200 * time.Millisecond,
			BackoffFactor: 1.6, RTTScale: 0.25,
		},
		Probe: Probe{
			EnableTCP: true, EnableUDP: true, Timeout: 2 * time.Second,
			TCPTargets: []string{"example.com:80"}, UDPTargets: []string{"1.1.1.1:53"},
			DNSName: "example.com", DNSType: "A",
		},
		Status: Status{Listen: "127.0.0.1:9101"},
		Pool:   Pool{Streams: 32, Connections: 4},
		Relay:  Relay{AnswerTimeout: time.Minute, HalfCloseTimeout: 10 * time.Minute},
		Upstreams: []Upstream{
			{
				Name:      "example.com",
				Weight:    1,
				HalfClose: "close-frame",
				TCP: NewURL(
					"wss://example.com/TCP_PATH",
				),
				Cipher: "aes-256-gcm",
				Secret: NewSecret("YOUR_SECRET"),
			},
		},
	}
	same(t, got, &want)
}

func TestZeroIsNotAbsent(t *testing.T) {
	tests := []struct {
		key  string // section and key
		zero string
		read func(*Config) any
		none any // what zero is
		def  any
	}{
		{
			"relay.half_close_timeout", "0",
			func(c *Config) any { return c.Relay.HalfCloseTimeout }, time.Duration(0), 10 * time.Minute,
		},
		{
			"selection.sticky_ttl", "0s",
			func(c *Config) any { return c.Selection.StickyTTL }, time.Duration(0), time.Minute,
		},
		{
			"selection.cooldown", "0",
			func(c *Config) any { return c.Selection.Cooldown }, time.Duration(0), 20 * time.Second,
		},
		{
			"selection.min_switch", "0ms",
			func(c *Config) any { return c.Selection.MinSwitch }, time.Duration(0), 20 * time.Millisecond,
		},
		{
			"failover.silence", "0",
			func(c *Config) any { return c.Failover.Silence }, time.Duration(0), time.Second,
		},
		{"selection.warm_standby_n", "0", func(c *Config) any { return c.Selection.WarmStandbyN }, 0, 2},
		{
			"healthcheck.jitter", "0",
			func(c *Config) any { return c.Health.Jitter }, time.Duration(0), 200 * time.Millisecond,
		},
		{"healthcheck.rtt_scale", "0", func(c *Config) any { return c.Health.RTTScale }, 0.0, 0.25},
		{"probe.enable_tcp", "false", func(c *Config) any { return c.Probe.EnableTCP }, false, true},
		{"listen.socks5", `""`, func(c *Config) any { return len(c.Listen.SOCKS5) }, 0, 1},
		{"listen.socks5", `[]`, func(c *Config) any { return len(c.Listen.SOCKS5) }, 0, 1},
		{"tun.udp_max_flows", "0", func(c *Config) any { return c.TUN.UDPMaxFlows }, 0, 4096},
	}
	for _, tt := range tests {
		section, key, _ := strings.Cut(tt.key, ".")
		for value, want := range map[string]any{tt.zero: tt.none, "null": tt.def, "~": tt.def, "": tt.def} {
			t.Run(tt.key+"="+value, func(t *testing.T) {
				c := parse(t, section+":\n  "+key+": "+value+"\n"+minimal)
				if got := tt.read(c); got != want {
					t.Errorf("%s: %s gives %v, want %v", tt.key, value, got, want)
				}
			})
		}
	}
}

func TestNullSectionIsAbsent(t *testing.T) {
	c := parse(t, "listen:\nlog: null\nselection: ~\ntun:\n"+minimal)
	same(t, c, parse(t, minimal))
}
