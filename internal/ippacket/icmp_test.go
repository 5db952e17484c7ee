package ippacket

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// echo returns an echo request as another library makes it.
func echo(t testing.TB, source, target netip.AddrPort, body string) []byte {
	t.Helper()
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 7, Seq: 9, Data: []byte(body)}}
	protocol, pseudo := uint8(ProtocolICMP), []byte(nil)
	if source.Addr().Is6() {
		message.Type, protocol = ipv6.ICMPTypeEchoRequest, ProtocolICMPv6
		pseudo = icmp.IPv6PseudoHeader(net.IP(source.Addr().AsSlice()), net.IP(target.Addr().AsSlice()))
	}
	payload, err := message.Marshal(pseudo)
	if err != nil {
		t.Fatal(err)
	}
	b, err := appendHeader(nil, header{source.Addr(), target.Addr(), protocol, 0}, len(payload))
	if err != nil {
		t.Fatal(err)
	}
	return append(b, payload...)
}

func TestEchoReply(t *testing.T) {
	for _, pair := range [][2]netip.AddrPort{{host4, server4}, {host6, server6}} {
		for _, body := range []string{"", "odd", strings.Repeat("ping", 400)} {
			request := mustParse(t, echo(t, pair[0], pair[1], body))
			if !request.IsEcho() || !request.MayAnswer() {
				t.Fatalf("echo request from %v is not taken for one", pair[0])
			}
			b, err := request.AppendEchoReply(nil)
			if err != nil {
				t.Fatal(err)
			}
			wantSums(t, b)
			reply := mustParse(t, b)
			wantEchoReply(t, &reply, body)
			if reply.Source != pair[1].Addr() || reply.Target != pair[0].Addr() || reply.IsEcho() {
				t.Errorf("reply goes from %v to %v, echo: %v", reply.Source, reply.Target, reply.IsEcho())
			}
		}
	}
}

// wantEchoReply reads the reply as another library does.
func wantEchoReply(t *testing.T, reply *Packet, body string) {
	t.Helper()
	message, err := icmp.ParseMessage(int(reply.Protocol), reply.Payload)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := message.Body.(*icmp.Echo)
	if !ok || got.ID != 7 || got.Seq != 9 || string(got.Data) != body {
		t.Errorf("reply = %v %+v, want the request's body", message.Type, message.Body)
	}
	if message.Type != ipv4.ICMPTypeEchoReply && message.Type != ipv6.ICMPTypeEchoReply {
		t.Errorf("type of the reply = %v", message.Type)
	}
}

// TestDamagedEcho: damage is not covered up.
func TestDamagedEcho(t *testing.T) {
	b := echo(t, host4, server4, "data")
	b[len(b)-1] ^= 1
	request := mustParse(t, b)
	reply, err := request.AppendEchoReply(nil)
	if err != nil {
		t.Fatal(err)
	}
	if naive(reply[header4:]) == 0 {
		t.Error("the reply to a damaged request has a correct sum")
	}
}

func TestNoEcho(t *testing.T) {
	v4, v6 := echo(t, host4, server4, "data"), echo(t, host6, server6, "data")
	tests := []struct {
		name string
		b    []byte
	}{
		{"reply", patch(v4, header4, typeEchoReply4)},
		{"code 1", patch(v4, header4+1, 1)},
		{"cut short", patch(v4, 2, 0, header4+7)},
		{"fragment", patch(v4, 6, 0x20)},
		{"UDP", datagram(t, host4, server4, "\x08")},
		{"ICMPv6 in IPv4", patch(patch(v4, 9, ProtocolICMPv6), header4, typeEcho6)},
		{"ICMP in IPv6", patch(patch(v6, 6, ProtocolICMP), header6, typeEcho4)},
		{"IPv6 reply", patch(v6, header6, typeEchoReply6)},
	}
	for _, tt := range tests {
		if p := mustParse(t, tt.b); p.IsEcho() {
			t.Errorf("%s is taken for an echo request", tt.name)
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name       string
		b          []byte
		why        Reason
		kind, code int
		quoted     int // bytes at most
	}{
		{"IPv4 port", datagram(t, host4, server4, "data"), PortUnreachable, 3, 3, 32},
		{"IPv4 prohibited", datagram(t, host4, server4, "data"), Prohibited, 3, 13, 32},
		{"IPv4 too big", datagram(t, host4, server4, strings.Repeat("x", 5000)), TooBig, 3, 4, 548},
		{"IPv6 port", datagram(t, host6, server6, "data"), PortUnreachable, 1, 4, 52},
		{"IPv6 prohibited", datagram(t, host6, server6, "data"), Prohibited, 1, 1, 52},
		{"IPv6 too big", datagram(t, host6, server6, strings.Repeat("x", 5000)), TooBig, 2, 0, 1232},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustParse(t, tt.b)
			b, err := p.AppendError(nil, tt.why, 4136)
			if err != nil {
				t.Fatal(err)
			}
			wantSums(t, b)
			answer := mustParse(t, b)
			if answer.Source != p.Target || answer.Target != p.Source || answer.MayAnswer() {
				t.Errorf("answer from %v to %v about %v to %v",
					answer.Source, answer.Target, p.Source, p.Target)
			}
			got := answer.Payload
			if int(got[0]) != tt.kind || int(got[1]) != tt.code {
				t.Errorf("type, code = %d, %d, want %d, %d", got[0], got[1], tt.kind, tt.code)
			}
			mtu := binary.BigEndian.Uint32(got[4:])
			if want := map[bool]uint32{true: 4136}[tt.why == TooBig]; mtu != want {
				t.Errorf("MTU = %d, want %d", mtu, want)
			}
			if quote := got[headerICMP:]; len(quote) != tt.quoted || !bytes.HasPrefix(tt.b, quote) {
				t.Errorf("quotes %d bytes, want the first %d", len(quote), tt.quoted)
			}
		})
	}
}

func TestMayAnswer(t *testing.T) {
	v4 := datagram(t, host4, server4, "data")
	unreachable := mustParse(t, v4)
	errorMessage, err := unreachable.AppendError(nil, PortUnreachable, 0)
	if err != nil {
		t.Fatal(err)
	}
	to := func(target string) []byte {
		return datagram(t, host4, netip.MustParseAddrPort(target), "data")
	}
	tests := []struct {
		name string
		b    []byte
		want bool
	}{
		{"datagram", v4, true},
		{"IPv6 datagram", datagram(t, host6, server6, "data"), true},
		{"first fragment", patch(v4, 6, 0x20), true},
		{"later fragment", patch(v4, 6, 0, 1), false},
		{"echo request", echo(t, host4, server4, "data"), true},
		{"IPv6 echo request", echo(t, host6, server6, "data"), true},
		{"error", errorMessage, false},
		{"empty ICMP", patch(errorMessage, 2, 0, header4), false},
		{"to a group", to("224.0.0.251:5353"), false},
		{"to everybody", to("255.255.255.255:67"), false},
		{"IPv6 to a group", datagram(t, host6, netip.MustParseAddrPort("[ff02::fb]:5353"), "data"), false},
		{"from nobody", datagram(t, netip.MustParseAddrPort("0.0.0.0:68"), server4, "data"), false},
	}
	for _, tt := range tests {
		if p := mustParse(t, tt.b); p.MayAnswer() != tt.want {
			t.Errorf("%s: MayAnswer = %v, want %v", tt.name, p.MayAnswer(), tt.want)
		}
	}
}
