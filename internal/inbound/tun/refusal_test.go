package tun

import (
	"net/netip"
	"strings"
	"testing"
)

func TestRefusals(t *testing.T) {
	none := Settings{}
	all := Settings{Packet: new(network)}
	down := Settings{Packet: new(network), Usable: func(string) bool { return false }}
	block := Settings{Packet: new(network), UDP443: UDP443Block}
	badly := Settings{Packet: new(network), QUIC: func() bool { return false }}
	parse := netip.MustParseAddrPort
	tests := []struct {
		name           string
		settings       Settings
		size           int
		source, target netip.AddrPort
		drop           drop
		kind, code     int // of the ICMP error; kind -1: none
	}{
		{"no UDP", none, 1, host4, target4, dropRefused, 3, 3},
		{"no UDP, IPv6", none, 1, host6, target6, dropRefused, 1, 4},
		{"no upstream", down, 1, host4, target4, dropNoUpstream, 3, 3},
		{"no upstream, IPv6", down, 1, host6, target6, dropNoUpstream, 1, 4},
		{"QUIC blocked", block, 1, host4, quic4, dropRefused, 3, 3},
		{"QUIC does badly", badly, 1, host4, quic4, dropRefused, 3, 3},
		{"too big", all, maxPayload4 + 1, host4, target4, dropSize, 3, 4},
		{"too big, IPv6", all, maxPayload6 + 1, host6, target6, dropSize, 2, 0},
		{"to a group", all, 1, host4, parse("239.1.2.3:1900"), dropRefused, -1, 0},
		{"to an IPv6 group", all, 1, host6, parse("[ff02::fb]:5353"), dropRefused, -1, 0},
		{"to everybody", all, 1, host4, parse("255.255.255.255:67"), dropRefused, -1, 0},
		{"to this host", all, 1, host4, parse("127.0.0.1:1"), dropRefused, -1, 0},
		{"from nobody", all, 1, parse("0.0.0.0:68"), target4, dropRefused, -1, 0},
		{"to port 0", all, 1, host4, parse("192.0.2.1:0"), dropMalformed, -1, 0},
		{"from port 0", all, 1, parse("192.0.2.1:0"), target4, dropMalformed, -1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inDoor(t, func(t *testing.T, r *door) {
				r.settings = tt.settings
				r.send(strings.Repeat("x", tt.size), tt.source, tt.target)
				r.wantDrops(tt.drop)
				r.wantError(tt.kind, tt.code)
				if n := r.tally.opened.Load(); n != 0 {
					t.Errorf("%d flows opened, want none", n)
				}
			})
		})
	}
}

func TestQUIC(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		well := true
		r.settings.QUIC = func() bool { return well }
		r.send("one", host4, quic4)
		well = false
		r.send("two", host4, quic4) // a connection that exists goes on
		r.network.socket(0).want(t, sentTo{"one", quic4.String()}, sentTo{"two", quic4.String()})
		r.send("three", netip.AddrPortFrom(host4.Addr(), 5001), quic4)
		r.wantDrops(dropRefused)
		r.wantError(3, 3)
		r.settings.UDP443 = UDP443Allow
		r.send("four", netip.AddrPortFrom(host4.Addr(), 5001), quic4)
		r.wantDrops()
		r.settings.UDP443 = UDP443Block
		r.send("five", host4, quic4)
		r.wantDrops(dropRefused)
		r.send("six", host4, target4)
		r.wantDrops()
	})
}
