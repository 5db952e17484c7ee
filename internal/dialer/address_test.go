package dialer

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	tests := []struct {
		name, addr string
		want       target
	}{
		{"name", "example.com:443", target{host: "example.com", port: 443}},
		{"name in capitals", "Example.COM:443", target{host: "example.com", port: 443}},
		{"rooted name", "example.com.:1", target{host: "example.com.", port: 1}},
		{"ipv4", "192.0.2.1:65535", target{ip: netip.MustParseAddr("192.0.2.1"), port: 65535}},
		{"ipv6", "[2001:db8::1]:80", target{ip: netip.MustParseAddr("2001:db8::1"), port: 80}},
		{"ipv6 with a zone", "[fe80::1%eth0]:80", target{ip: netip.MustParseAddr("fe80::1%eth0"), port: 80}},
		{"ipv4 inside ipv6", "[::ffff:192.0.2.1]:80", target{ip: netip.MustParseAddr("192.0.2.1"), port: 80}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := parseTarget(tt.addr); got != tt.want || err != nil {
				t.Errorf("parseTarget(%q) = %v, %v, want %v, nil", tt.addr, got, err, tt.want)
			}
		})
	}
}

func TestParseTargetErrors(t *testing.T) {
	tests := []struct {
		name, addr string
		want       error
	}{
		{"empty", "", errNoPort},
		{"no port", "example.com", errNoPort},
		{"no port behind brackets", "[2001:db8::1]", errNoPort},
		{"ipv6 alone", "2001:db8::1", errBrackets},
		{"ipv6 with a port and no brackets", "2001:db8:0:0:0:0:0:1:443", errBrackets},
		{"ipv6 with a zone and no brackets", "fe80::1%eth0:443", errBrackets},
		{"no host", ":443", errNoHost},
		{"empty port", "example.com:", errBadPort},
		{"port zero", "example.com:0", errBadPort},
		{"port too big", "example.com:65536", errBadPort},
		{"negative port", "example.com:-1", errBadPort},
		{"port by name", "example.com:https", errBadPort},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseTarget(tt.addr)
			if !errors.Is(err, tt.want) || got != (target{}) {
				t.Errorf("parseTarget(%q) = %v, %v, want none, %v", tt.addr, got, err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), `"`+tt.addr+`"`) {
				t.Errorf("parseTarget(%q) = error %q, want the address in it", tt.addr, err)
			}
		})
	}
}

func FuzzParseTarget(f *testing.F) {
	seeds := []string{"a:1", "[::1]:1", "1.2.3.4:5", "[fe80::1%x]:2", "::1", "[]:1", "[::1]", "a]:1", "[a:1"}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		got, err := parseTarget(addr)
		if err != nil {
			if got != (target{}) {
				t.Errorf("parseTarget(%q) = %v and error %v, want one of them", addr, got, err)
			}
			return
		}
		if got.port == 0 || (got.host != "") == got.ip.IsValid() {
			t.Errorf("parseTarget(%q) = %+v, want a port and either a name or an IP address", addr, got)
		}
	})
}
