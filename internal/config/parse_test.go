package config

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// refused is what a table expects of a text that is not accepted.
const refused = "refused"

// said is the outcome of a parser for a table: the value, or that there is none.
func said(value string, err error) string {
	if err != nil {
		return refused
	}
	return value
}

func TestParseListener(t *testing.T) {
	tests := []struct {
		in, want string
		loopback bool
	}{
		{"127.0.0.1:1080", "127.0.0.1:1080", true},
		{"127.8.9.1:1080", "127.8.9.1:1080", true},
		{"localhost:1080", "localhost:1080", true},
		{"[::1]:1080", "[::1]:1080", true},
		{"[::ffff:127.0.0.1]:1080", "[::ffff:127.0.0.1]:1080", true},
		{"127.0.0.1:0", "127.0.0.1:0", true},
		{":1080", ":1080", false},
		{"0.0.0.0:1080", "0.0.0.0:1080", false},
		{"[::]:01080", "[::]:1080", false},
		{"192.168.1.2:1080", "192.168.1.2:1080", false},
		{"[fe80::1%eth0]:1080", "[fe80::1%eth0]:1080", false},
		{"127.0.0.1", refused, false},
		{"1080", refused, false},
		{"::1:1080", refused, false},
		{"127.0.0.1:65536", refused, false},
		{"127.0.0.1:-1", refused, false},
		{"127.0.0.1:socks", refused, false},
		{"127.0.0.1:", refused, false},
		{"example.com:1080", refused, false},
		{"127.0.0.256:1080", refused, false},
	}
	for _, tt := range tests {
		got := said(parseListener(tt.in))
		if got != tt.want {
			t.Errorf("parseListener(%q) = %q, want %q", tt.in, got, tt.want)
		}
		if loopback := isLoopback(got); loopback != tt.loopback {
			t.Errorf("isLoopback(%q) = %v, want %v", got, loopback, tt.loopback)
		}
	}
}

func TestParseTarget(t *testing.T) {
	tests := []struct{ in, want string }{
		{"example.com:80", "example.com:80"},
		{"1.1.1.1:53", "1.1.1.1:53"},
		{"[2001:db8::1]:53", "[2001:db8::1]:53"},
		{"2001:db8::1:53", "[2001:db8::1]:53"},
		{"2001:db8:1:2:3:4:5:6:53", "[2001:db8:1:2:3:4:5:6]:53"},
		{"::1:53", "[::1]:53"},
		{"2001:db8:1:2:3:4:5:6", refused},
		{"example.com", refused},
		{"example.com:0", refused},
		{"example.com:http", refused},
		{":80", refused},
		{"a b:80", refused},
		{"a/b:80", refused},
		{strings.Repeat("a", 254) + ":80", refused},
	}
	for _, tt := range tests {
		if got := said(parseTarget(tt.in)); got != tt.want {
			t.Errorf("parseTarget(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseServer(t *testing.T) {
	tests := []struct{ in, want string }{
		{"1.1.1.1", "1.1.1.1:53"},
		{"1.1.1.1:5353", "1.1.1.1:5353"},
		{"2001:db8::1", "[2001:db8::1]:53"},
		{"[2001:db8::1]", "[2001:db8::1]:53"},
		{"[2001:db8::1]:5353", "[2001:db8::1]:5353"},
		{"1.1.1.1:0", refused},
		{"dns.example:53", refused},
		{"", refused},
	}
	for _, tt := range tests {
		server, err := parseServer(tt.in)
		if got := said(server.String(), err); got != tt.want {
			t.Errorf("parseServer(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseAdvertised(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", netip.Addr{}.String()},
		{"192.0.2.1", "192.0.2.1"},
		{"2001:db8::1", "2001:db8::1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"0.0.0.0", refused},
		{"::", refused},
		{"224.0.0.1", refused},
		{"fe80::1%eth0", refused},
		{"host.example", refused},
		{"192.0.2.1:1080", refused},
	}
	for _, tt := range tests {
		ip, err := parseAdvertised(tt.in)
		if got := said(ip.String(), err); got != tt.want {
			t.Errorf("parseAdvertised(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseURL(t *testing.T) {
	tests := []struct {
		name, in string
		good     bool
	}{
		{"wss", "wss://example.com/p", true},
		{"ws with port", "ws://example.com:8080/p?q=1&q=2", true},
		{"upper case", "WSS://EXAMPLE.com/p", true},
		{"https", "https://example.com", true},
		{"IPv6", "wss://[2001:db8::1]:443/p", true},
		{"percent", "wss://example.com/a%20b", true},
		{"empty", "", true},
		{"no scheme", "example.com/p", false},
		{"no scheme, port", "example.com:443/p", false},
		{"other scheme", "ftp://example.com/p", false},
		{"no host", "wss:///p", false},
		{"opaque", "wss:example.com", false},
		{"unbracketed IPv6", "wss://2001:db8::1/p", false},
		{"port too large", "wss://example.com:70000/p", false},
		{"port zero", "wss://example.com:0/p", false},
		{"port text", "wss://example.com:abc/p", false},
		{"space", "wss://example.com/a b", false},
		{"new line", "wss://example.com/a\n", false},
		{"bad escape", "wss://example.com/%zz", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := parseURL(tt.in)
			if (err == nil) != tt.good {
				t.Fatalf("parseURL(%q) = %v, want good = %v", tt.in, err, tt.good)
			}
			if tt.good && u.Reveal() != tt.in {
				t.Errorf("parseURL(%q).Reveal() = %q, want it unchanged", tt.in, u.Reveal())
			}
		})
	}
}

func TestParsePrefix(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"text", "POST ", "POST "},
		{"bytes", "\u0016\u0003\u0001\u0000\u00a8\u0001\u00ff", "\x16\x03\x01\x00\xa8\x01\xff"},
		{"longest", strings.Repeat("\u00ff", 16), strings.Repeat("\xff", 16)},
		{"too long", strings.Repeat("x", 17), refused},
		{"no byte", "a\u0100", refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			prefix, err := parsePrefix(tt.in)
			if got := said(string(prefix), err); got != tt.want {
				t.Errorf("parsePrefix(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestParsePin(t *testing.T) {
	// SHA-256 of nothing.
	const digits = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	tests := []struct{ name, in, want string }{
		{"base64", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", digits},
		{"without padding", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", digits},
		{"curl", "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", digits},
		{"hex", digits, digits},
		{"upper case hex with colons", strings.ToUpper(strings.Join(pairsOf(digits), ":")), digits},
		{"too short", digits[2:], refused},
		{"too long", digits + "00", refused},
		{"short base64", "47DEQpj8", refused},
		{"text", "not a pin", refused},
		{"empty", "", refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pin, err := parsePin(tt.in)
			if got := said(hex.EncodeToString(pin[:]), err); got != tt.want {
				t.Errorf("parsePin(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func pairsOf(s string) []string {
	var pairs []string
	for ; len(s) > 0; s = s[2:] {
		pairs = append(pairs, s[:2])
	}
	return pairs
}

func TestParseDuration(t *testing.T) {
	tests := []struct{ in, want string }{
		{"5s", "5s"},
		{"1m30s", "1m30s"},
		{"1.5s", "1.5s"},
		{"0", "0s"},
		{"-0", "0s"},
		{"-1ns", "must not be negative"},
		{"5", "got a number, want a duration like 5s"},
		{"0.5", "got a number, want a duration like 5s"},
		{"5 s", errType.Error()},
		{"", errType.Error()},
		{"9999999h", errType.Error()},
	}
	for _, tt := range tests {
		v, err := parseDuration(tt.in)
		got := v.String()
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("parseDuration(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParsersSaySomething(t *testing.T) {
	for name, err := range map[string]error{
		"name": second(parseName("")), "long name": second(parseName(strings.Repeat("x", 65))),
		"control": second(parseName("a\tb")), "device": second(parseDevice("a/b")),
		"long device": second(parseDevice(strings.Repeat("x", 16))), "host": second(parseHost("a:b")),
	} {
		if m, ok := errors.AsType[*mistake](err); !ok || m.message == "" {
			t.Errorf("%s: got %v, want a mistake", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
