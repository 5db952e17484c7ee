package config

import (
	"crypto/sha256"
	"net/netip"
)

// root is the schema of the file: every key, in the order of docs/config.md, with where its value goes.
func (d *decoder) root(c *Config) section {
	return section{
		{"listen", listenKeys(&c.Listen)},
		{"upstreams", list[Upstream]{&c.Upstreams, d.upstreamKeys}},
		{"log", section{
			{"format", choice(&c.Log.Format, LogAuto, LogText, LogJSON)},
			{"level", level(&c.Log.Level)},
		}},
		{"fwmark", mark(&c.Mark)},
		{"dial_timeout", timeout(&c.DialTimeout)},
		{"memory_limit", memoryLimit(&c.MemoryLimit)},
		{"relay", section{
			{"answer_timeout", duration(&c.Relay.AnswerTimeout)},
			{"idle_timeout", duration(&c.Relay.IdleTimeout)},
			{"half_close_timeout", duration(&c.Relay.HalfCloseTimeout)},
		}},
		{"pool", section{
			{"streams", count(&c.Pool.Streams, 1)},
			{"connections", count(&c.Pool.Connections, 1)},
		}},
		{"dns", section{
			{"servers", oneOrMany[netip.AddrPort]{&c.DNS.Servers, wantServer, parseServer}},
		}},
		{"selection", selectionKeys(&c.Selection)},
		{"failover", section{
			{"silence", duration(&c.Failover.Silence)},
			{"hedge", duration(&c.Failover.Hedge)},
			{"replay", choice(&c.Failover.Replay, ReplaySafe, ReplayAny, ReplayNever)},
			{"deadline", timeout(&c.Failover.Deadline)},
		}},
		{"state_file", scalar[string]{&c.StateFile, wantFile, d.parseStateFile}},
		{"disable_probes", boolean(&c.DisableProbes)},
		{"healthcheck", healthKeys(&c.Health)},
		{"probe", probeKeys(&c.Probe)},
		{"metrics", section{
			{"listen", scalar[string]{&c.Metrics.Listen, wantMetrics, ParseMetricsListener}},
		}},
		{"status", d.statusKeys(&c.Status)},
		{"tun", tunKeys(&c.TUN)},
		{"websocket", section{
			{"debug", boolean(&c.WebSocket.Debug)},
		}},
	}
}

func listenKeys(l *Listen) section {
	return section{
		{"socks5", oneOrMany[string]{&l.SOCKS5, wantListener, parseListener}},
		{"socks5_users", list[User]{&l.SOCKS5Users, userKeys}},
		{"allow_open", boolean(&l.AllowOpen)},
		{"udp_advertise", scalar[netip.Addr]{&l.UDPAdvertise, wantIP, parseAdvertised}},
	}
}

// maxCredential is what the length byte of RFC 1929 can say.
const maxCredential = 255

func userKeys(u *User) section {
	return section{
		{"username", scalar[string]{&u.Username, "text", func(s string) (string, error) {
			if len(s) > maxCredential {
				return "", wrong("must be %d bytes or less", maxCredential)
			}
			return s, nil
		}}},
		{"password", secret(&u.Password, maxCredential)},
	}
}

func (d *decoder) upstreamKeys(u *Upstream) section {
	*u = defaultUpstream()
	return section{
		{"name", scalar[string]{&u.Name, "text", parseName}},
		{"weight", number(&u.Weight, func(n float64) bool { return n > 0 }, "a number above 0")},
		{"tcp_wss", scalar[URL]{&u.TCP, "a URL like wss://example.com/path", d.parseUpstreamURL}},
		{"udp_wss", scalar[URL]{&u.UDP, "a URL like wss://example.com/path", d.parseUpstreamURL}},
		{"cipher", scalar[string]{&u.Cipher, "the name of a cipher", d.parseCipher}},
		{"secret", secret(&u.Secret, maxText)},
		{"secret_file", credential{u}},
		{"prefix", bytesField{&u.Prefix}},
		{"half_close", choice(&u.HalfClose, HalfCloseFrame, HalfCloseDefer)},
		{"headers", headers{&u.Headers}},
		{"tls", section{
			{"ca_file", certificates{&u.TLS}},
			{"server_name", scalar[string]{&u.TLS.ServerName, "a host name", parseHost}},
			{"pin_sha256", oneOrMany[[sha256.Size]byte]{&u.TLS.PinSHA256, wantPin, parsePin}},
		}},
	}
}

func selectionKeys(s *Selection) section {
	return section{
		{"sticky_ttl", duration(&s.StickyTTL)},
		{"cooldown", duration(&s.Cooldown)},
		{"min_switch", duration(&s.MinSwitch)},
		{"affinity", choice(&s.Affinity, AffinityNone, AffinityClient, AffinityTarget)},
		{"close_old", boolean(&s.CloseOld)},
		{"warm_standby_n", integer(&s.WarmStandbyN, 0, maxStandby)},
		{"warm_standby_interval", timeout(&s.WarmStandbyInterval)},
		{"standby_keepalive", boolean(&s.StandbyKeepalive)},
		{"standby_keepalive_interval", timeout(&s.StandbyKeepaliveInterval)},
		{"standby_keepalive_probe_timeout", timeout(&s.StandbyKeepaliveProbeTimeout)},
	}
}

// maxStandby bounds what is kept open at servers without being used.
const maxStandby = 1000

func healthKeys(h *Health) section {
	return section{
		{"interval", timeout(&h.Interval)},
		{"timeout", timeout(&h.Timeout)},
		{"fail_threshold", count(&h.FailThreshold, 1)},
		{"success_threshold", count(&h.SuccessThreshold, 1)},
		{"min_interval", timeout(&h.MinInterval)},
		{"max_interval", timeout(&h.MaxInterval)},
		{"jitter", duration(&h.Jitter)},
		{"backoff_factor", number(&h.BackoffFactor, atLeast(1), "a number of 1 or more")},
		{"rtt_scale", number(&h.RTTScale, atLeast(0), "a number of 0 or more")},
	}
}

func probeKeys(p *Probe) section {
	return section{
		{"enable_tcp", boolean(&p.EnableTCP)},
		{"enable_udp", boolean(&p.EnableUDP)},
		{"timeout", timeout(&p.Timeout)},
		{"tcp_target", oneOrMany[string]{&p.TCPTargets, wantTarget, parseTarget}},
		{"udp_target", oneOrMany[string]{&p.UDPTargets, wantTarget, parseTarget}},
		{"dns_name", scalar[string]{&p.DNSName, "a host name", parseHost}},
		{"dns_type", choice(&p.DNSType, "A", "AAAA", "CNAME", "MX", "NS", "SOA", "TXT")},
	}
}
