package dialer

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// ips reads addresses that stand apart by spaces.
func ips(s string) []netip.Addr {
	var addrs []netip.Addr
	for f := range strings.FieldsSeq(s) {
		addrs = append(addrs, netip.MustParseAddr(f))
	}
	return addrs
}

func TestQueueOrder(t *testing.T) {
	tests := []struct {
		name, v6, v4, good string
		want               string
	}{
		{"nothing", "", "", "", ""},
		{"ipv6 alone", "::1 ::2", "", "", "::1 ::2"},
		{"ipv4 alone", "", "1.1.1.1 1.1.1.2", "", "1.1.1.1 1.1.1.2"},
		{"families take turns", "::1 ::2", "1.1.1.1 1.1.1.2", "", "::1 1.1.1.1 ::2 1.1.1.2"},
		{"more ipv6", "::1 ::2 ::3", "1.1.1.1", "", "::1 1.1.1.1 ::2 ::3"},
		{"more ipv4", "::1", "1.1.1.1 1.1.1.2 1.1.1.3", "", "::1 1.1.1.1 1.1.1.2 1.1.1.3"},
		{"each once", "::1 ::1", "1.1.1.1 1.1.1.2 1.1.1.1", "", "::1 1.1.1.1 1.1.1.2"},
		{"good ipv4 first", "::1 ::2", "1.1.1.1 1.1.1.2", "1.1.1.2", "1.1.1.2 ::1 1.1.1.1 ::2"},
		{"good ipv6 first", "::1 ::2", "1.1.1.1", "::2", "::2 1.1.1.1 ::1"},
		{"good one is gone, its family goes first", "::1", "1.1.1.1", "1.1.1.9", "1.1.1.1 ::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var good netip.Addr
			if tt.good != "" {
				good = netip.MustParseAddr(tt.good)
			}
			q := newQueue(good)
			q.add(ipv4, ips(tt.v4)) // the order of arrival does not matter
			q.add(ipv6, ips(tt.v6))
			if got, want := q.all(), ips(tt.want); !slices.Equal(got, want) {
				t.Errorf("queue(%s; %s; good %s) = %v, want %v", tt.v6, tt.v4, tt.good, got, want)
			}
		})
	}
}

func TestQueueTakesLateAddresses(t *testing.T) {
	q := newQueue(netip.Addr{})
	q.add(ipv6, ips("::1 ::2 ::3"))
	first, _ := q.next()
	second, _ := q.next()
	q.add(ipv4, ips("1.1.1.1"))
	got := append([]netip.Addr{first, second}, q.all()...)
	if want := ips("::1 ::2 1.1.1.1 ::3"); !slices.Equal(got, want) {
		t.Errorf("queue with late addresses = %v, want %v", got, want)
	}
}

func TestFamilies(t *testing.T) {
	for _, tt := range []struct {
		addr    string
		family  family
		network string
	}{{"::1", ipv6, "ip6"}, {"1.1.1.1", ipv4, "ip4"}} {
		f := familyOf(netip.MustParseAddr(tt.addr))
		if f != tt.family || f.network() != tt.network || f.other() == f {
			t.Errorf("familyOf(%s) = %d %s, other %d", tt.addr, f, f.network(), f.other())
		}
	}
}
