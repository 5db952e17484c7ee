package dialer

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParseServers(t *testing.T) {
	text := "# made by hand\nsearch example.com\nnameserver 192.0.2.53\nnameserver\n" +
		"nameserver 2001:db8::53\nnameserver fe80::1%eth0\nnameserver somewhere\n" +
		"  nameserver ::ffff:192.0.2.54 x\n"
	want := []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:53"),
		netip.MustParseAddrPort("[fe80::1%eth0]:53"), netip.MustParseAddrPort("192.0.2.54:53"),
	}
	if got := parseServers(strings.NewReader(text)); !slices.Equal(got, want) {
		t.Errorf("servers = %v, want %v", got, want)
	}
	if got := serversIn(t.TempDir()); got != nil {
		t.Errorf("servers of a folder = %v", got)
	}
}
