package config

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"weight", "weight", 0},
		{"wieght", "weight", 1}, // neighbours swapped
		{"weigh", "weight", 1},
		{"weightt", "weight", 1},
		{"waight", "weight", 1},
		{"kitten", "sitting", 3},
	}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestAdvice(t *testing.T) {
	var c Config
	root := new(decoder).root(&c)
	var upstream Upstream
	keys := new(decoder).upstreamKeys(&upstream)
	tests := []struct {
		name string
		in   section
		key  string
		want string
	}{
		{"swapped", keys, "wieght", "did you mean weight?"},
		{"upper case", keys, "Weight", "did you mean weight?"},
		{"dash", keys, "tcp-wss", "did you mean tcp_wss?"},
		{"camel case", keys, "tcpWss", "did you mean tcp_wss?"},
		{"plural", root, "upstream", "did you mean upstreams?"},
		{"elsewhere", listenKeys(&c.Listen), "weight", "weight belongs in upstreams[]"},
		{"in several places", root, "timeout", "timeout belongs in healthcheck or in probe"},
		{"a section", keys, "log", "log belongs at the top level"},
		{"top level", keys, "dial_timeout", "dial_timeout belongs at the top level"},
		{"dotted", root, "listen.socks5", "socks5 belongs in listen"},
		{"colon", keys, "secret:abc", "put a space after the colon"},
		{"password", keys, "pwd", ""},
		{"nothing like it", root, "colour", ""},
		{"long", root, strings.Repeat("listen", 100), ""},
		{"no letters", root, "é", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.in.advice(tt.key, root); got != tt.want {
				t.Errorf("advice(%q) = %q, want %q", tt.key, got, tt.want)
			}
		})
	}
}

func TestShown(t *testing.T) {
	for key, want := range map[string]string{
		"tcp_wss": "tcp_wss", "listen.socks5": "listen.socks5", "secret:abc": "secret…", "a b": "a…",
		"wss://example.com/path": "wss…", "ключ": "…", strings.Repeat("k", 50): strings.Repeat("k", 40) + "…",
	} {
		if got := shown(key); got != want {
			t.Errorf("shown(%q) = %q, want %q", key, got, want)
		}
	}
}
