package config

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// outcome parses a file that sets one key and returns what read says, or the message of the only mistake.
func outcome(t *testing.T, key, value string, read func(*Config) any) any {
	t.Helper()
	section, name, nested := strings.Cut(key, ".")
	file := section + ": " + value + minimal
	if nested {
		file = section + ":\n  " + name + ": " + value + minimal
	}
	c, err := Parse("c.yaml", []byte(file), Checks{})
	if err == nil {
		return read(c)
	}
	list, ok := errors.AsType[Errors](err)
	if !ok || len(list) != 1 {
		t.Fatalf("%s: %s gives %v, want one mistake", key, value, err)
	}
	return list[0].Message
}

func TestNumbers(t *testing.T) {
	asMark := func(c *Config) any { return c.Mark }
	asMTU := func(c *Config) any { return c.TUN.MTU }
	asFactor := func(c *Config) any { return c.Health.BackoffFactor }
	asThreshold := func(c *Config) any { return c.Health.FailThreshold }
	tests := []struct {
		key, value string
		read       func(*Config) any
		want       any
	}{
		{"fwmark", "123", asMark, uint32(123)},
		{"fwmark", "0x7b", asMark, uint32(123)},
		{"fwmark", `"0x7B"`, asMark, uint32(123)},
		{"fwmark", "0xffffffff", asMark, uint32(0xffffffff)},
		{"fwmark", "4294967296", asMark, "must be between 0 and 4294967295"},
		{"fwmark", "99999999999999999999", asMark, "must be between 0 and 4294967295"},
		{"fwmark", "-1", asMark, "must be between 0 and 4294967295"},
		{"fwmark", "abc", asMark, "got text, want a number like 123 or 0x7b"},
		{"fwmark", "1.5", asMark, "got a number, want a number like 123 or 0x7b"},
		{"fwmark", "yes", asMark, "got text, want a number like 123 or 0x7b"},
		{"fwmark", "true", asMark, "got true or false, want a number like 123 or 0x7b"},
		{"fwmark", "{}", asMark, "got a map, want a number like 123 or 0x7b"},
		{"tun.mtu", "576", asMTU, 576},
		{"tun.mtu", "65535", asMTU, 65535},
		{"tun.mtu", "575", asMTU, "must be between 576 and 65535"},
		{"tun.mtu", "65536", asMTU, "must be between 576 and 65535"},
		{"tun.mtu", "99999999999999999999", asMTU, "must be between 576 and 65535"},
		{"tun.mtu", "15e2", asMTU, "got a number, want a whole number"},
		{"tun.mtu", `""`, asMTU, "got empty text, want a whole number"},
		{"healthcheck.fail_threshold", "1", asThreshold, 1},
		{"healthcheck.fail_threshold", "0", asThreshold, "must be 1 or more"},
		{"healthcheck.fail_threshold", "-5", asThreshold, "must be 1 or more"},
		{"healthcheck.backoff_factor", "1", asFactor, 1.0},
		{"healthcheck.backoff_factor", "2.5", asFactor, 2.5},
		{"healthcheck.backoff_factor", "0.99", asFactor, "must be a number of 1 or more"},
		{"healthcheck.backoff_factor", ".inf", asFactor, "must be a number of 1 or more"},
		{"healthcheck.backoff_factor", "inf", asFactor, "must be a number of 1 or more"},
		{"healthcheck.backoff_factor", ".NaN", asFactor, "must be a number of 1 or more"},
		{"healthcheck.backoff_factor", "1e999", asFactor, "must be a number of 1 or more"},
		{"healthcheck.backoff_factor", "fast", asFactor, "got text, want a number"},
		{"healthcheck.rtt_scale", ".5", func(c *Config) any { return c.Health.RTTScale }, 0.5},
	}
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.value, func(t *testing.T) {
			if got := outcome(t, tt.key, tt.value, tt.read); got != tt.want {
				t.Errorf("%s: %s gives %v (%T), want %v", tt.key, tt.value, got, got, tt.want)
			}
		})
	}
}

func TestBooleans(t *testing.T) {
	for value, want := range map[string]any{
		"true": true, "True": true, "yes": true, "ON": true, "y": true, `"true"`: true,
		"false": false, "no": false, "Off": false, "n": false,
		"1": "got a number, want true or false", "maybe": "got text, want true or false",
		"[true]": "got a list, want true or false",
	} {
		got := outcome(t, "disable_probes", value, func(c *Config) any { return c.DisableProbes })
		if got != want {
			t.Errorf("disable_probes: %s gives %v, want %v", value, got, want)
		}
	}
}

func TestChoices(t *testing.T) {
	const formats, levels = "want auto, text or json", "want debug, info, warn or error"
	asFormat := func(c *Config) any { return c.Log.Format }
	asLevel := func(c *Config) any { return c.Log.Level }
	asReplay := func(c *Config) any { return c.Failover.Replay }
	asAffinity := func(c *Config) any { return c.Selection.Affinity }
	tests := []struct {
		key, value string
		read       func(*Config) any
		want       any
	}{
		{"log.format", "json", asFormat, LogJSON},
		{"log.format", "TEXT", asFormat, LogText},
		{"log.format", "xml", asFormat, formats},
		{"log.format", `""`, asFormat, formats},
		{"log.format", "[json]", asFormat, "got a list, " + formats},
		{"log.level", "debug", asLevel, slog.LevelDebug},
		{"log.level", "Warn", asLevel, slog.LevelWarn},
		{"log.level", "error", asLevel, slog.LevelError},
		{"log.level", "info", asLevel, slog.LevelInfo},
		{"log.level", "warning", asLevel, levels},
		{"log.level", "debug+2", asLevel, levels},
		{"failover.replay", "safe", asReplay, ReplaySafe},
		{"failover.replay", "Any", asReplay, ReplayAny},
		{"failover.replay", "never", asReplay, ReplayNever},
		{"failover.replay", "false", asReplay, "want safe, any or never"},
		{"selection.affinity", "none", asAffinity, AffinityNone},
		{"selection.affinity", "client", asAffinity, AffinityClient},
		{"selection.affinity", "TARGET", asAffinity, AffinityTarget},
		{"selection.affinity", "source", asAffinity, "want none, client or target"},
	}
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.value, func(t *testing.T) {
			if got := outcome(t, tt.key, tt.value, tt.read); got != tt.want {
				t.Errorf("%s: %s gives %v, want %v", tt.key, tt.value, got, tt.want)
			}
		})
	}
}

func TestOneOrMany(t *testing.T) {
	for value, want := range map[string]string{
		"a.example:80":               "a.example:80",
		"[a.example:80]":             "a.example:80",
		"[a.example:80, ::1:80]":     "a.example:80 [::1]:80",
		"{a: b}":                     "got a map, want host:port, like example.com:80",
		"[[a.example:80]]":           "got a list, want host:port, like example.com:80",
		"[a.example:80, '']":         "got empty text, want host:port, like example.com:80",
		"[a.example:80, null]":       "got nothing, want host:port, like example.com:80",
		"[]":                         "is empty; probe.enable_tcp: false switches TCP probes off",
		"''":                         "is empty; probe.enable_tcp: false switches TCP probes off",
		"[]\n  enable_tcp: false":    "",
		"['x']\n  enable_tcp: false": "got text, want host:port, like example.com:80",
	} {
		got := outcome(
			t,
			"probe.tcp_target",
			value,
			func(c *Config) any { return strings.Join(c.Probe.TCPTargets, " ") },
		)
		if got != want {
			t.Errorf("probe.tcp_target: %s gives %v, want %v", value, got, want)
		}
	}
}
