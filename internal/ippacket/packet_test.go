package ippacket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

var (
	host4   = netip.MustParseAddrPort("192.0.2.1:5000")
	server4 = netip.MustParseAddrPort("198.51.100.7:443")
	host6   = netip.MustParseAddrPort("[2001:db8::1]:5000")
	server6 = netip.MustParseAddrPort("[2001:db8:ffff::7]:443")
)

// naive is the sum of RFC 1071, word by word.
func naive(pieces ...[]byte) uint16 {
	all := bytes.Join(pieces, nil)
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	var total uint32
	for i := 0; i < len(all); i += 2 {
		total += uint32(all[i])<<8 | uint32(all[i+1])
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}

// wantSums fails unless every checksum of a packet that we built is right.
func wantSums(t *testing.T, b []byte) {
	t.Helper()
	p := mustParse(t, b)
	if p.Source.Is4() {
		if got := naive(b[:header4]); got != 0 {
			t.Errorf("sum over the IPv4 header = %#x, want 0", got)
		}
	}
	var pseudo []byte
	if p.Protocol != ProtocolICMP {
		pseudo = append(p.Source.AsSlice(), p.Target.AsSlice()...)
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(p.Payload)))
		pseudo = append(pseudo, 0, 0, 0, p.Protocol)
	}
	if got := naive(pseudo, p.Payload); got != 0 {
		t.Errorf("sum over the payload of protocol %d = %#x, want 0", p.Protocol, got)
	}
}

func mustParse(t testing.TB, b []byte) Packet {
	t.Helper()
	p, err := Parse(b)
	if err != nil {
		t.Fatalf("Parse(%x) = %v", b, err)
	}
	return p
}

func datagram(t testing.TB, source, target netip.AddrPort, payload string) []byte {
	t.Helper()
	b, err := UDP{source, target, []byte(payload)}.Append(nil, 77)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// patch returns b with what differs.
func patch(b []byte, at int, with ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], with)
	return b
}

// extend puts extension headers between the IPv6 header of b and its payload.
func extend(b []byte, first byte, extensions ...byte) []byte {
	size := binary.BigEndian.Uint16(b[4:]) + uint16(len(extensions))
	out := append(bytes.Clone(b[:header6]), extensions...)
	binary.BigEndian.PutUint16(out[4:], size)
	out[6] = first
	return append(out, b[header6:]...)
}

func TestUDPRoundTrip(t *testing.T) {
	for _, pair := range [][2]netip.AddrPort{{host4, server4}, {host6, server6}} {
		for _, size := range []int{0, 1, 7, 8, 9, 1200, 4088, MaxUDP4} {
			payload := strings.Repeat("x", size)
			b := datagram(t, pair[0], pair[1], payload)
			wantSums(t, b)
			p := mustParse(t, append(b, "behind the packet"...))
			u, err := p.UDP()
			if err != nil || u.Source != pair[0] || u.Target != pair[1] || string(u.Payload) != payload {
				t.Errorf("UDP of %d bytes from %v = %v, %v, %d bytes, %v",
					size, pair[0], u.Source, u.Target, len(u.Payload), err)
			}
			if len(p.Whole) != len(b) {
				t.Errorf("the whole has %d bytes, want %d", len(p.Whole), len(b))
			}
		}
	}
}

func TestUDPTooBig(t *testing.T) {
	tests := []struct {
		source, target netip.AddrPort
		size           int
		want           error
	}{
		{host4, server4, MaxUDP4 + 1, ErrTooBig},
		{host6, server6, MaxUDP6, nil},
		{host6, server6, MaxUDP6 + 1, ErrTooBig},
		{host4, server6, 1, ErrMalformed},
		{host6, server4, 1, ErrMalformed},
		{netip.AddrPort{}, netip.AddrPort{}, 1, ErrMalformed},
	}
	for _, tt := range tests {
		b, err := UDP{tt.source, tt.target, make([]byte, tt.size)}.Append([]byte("kept"), 0)
		if !errors.Is(err, tt.want) || !bytes.HasPrefix(b, []byte("kept")) {
			t.Errorf("Append(%d bytes, %v to %v) = %v, want %v", tt.size, tt.source, tt.target, err, tt.want)
		}
	}
}

// TestZeroSum: a sum of zero is sent as all ones, since zero says that there is none.
func TestZeroSum(t *testing.T) {
	b := datagram(t, host4, server4, "\x00\x00")
	sum := mustParse(t, b).Payload[6:8]
	b = datagram(t, host4, server4, string(sum)) // adding its own complement makes it zero
	if got := mustParse(t, b).Payload[6:8]; got[0] != 0xff || got[1] != 0xff {
		t.Errorf("a zero checksum is sent as %x, want ffff", got)
	}
}

func TestMalformed(t *testing.T) {
	v4, v6 := datagram(t, host4, server4, "data"), datagram(t, host6, server6, "data")
	chain := bytes.Repeat([]byte{extDestination, 0, 0, 0, 0, 0, 0, 0}, maxExtension)
	tests := []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"version 0", patch(v4, 0, 0x05)},
		{"version 5", patch(v4, 0, 0x55)},
		{"short IPv4 header", v4[:header4-1]},
		{"IPv4 header length 4", patch(v4, 0, 0x44)},
		{"IPv4 header longer than the packet", patch(v4[:24], 0, 0x4f)},
		{"IPv4 total length beyond the end", v4[:len(v4)-1]},
		{"IPv4 total length within the header", patch(v4, 2, 0, 19)},
		{"short IPv6 header", v6[:header6-1]},
		{"IPv6 payload beyond the end", v6[:len(v6)-1]},
		{"IPv4 inside an IPv6 source", patch(v6, 8, netip.MustParseAddr("::ffff:1.2.3.4").AsSlice()...)},
		{"IPv4 inside an IPv6 target", patch(v6, 24, netip.MustParseAddr("::ffff:1.2.3.4").AsSlice()...)},
		{"extension cut short", patch(v6[:header6+4], 4, 0, 4, extHopByHop)},
		{"extension beyond the end", extend(v6, extHopByHop, ProtocolUDP, 200, 0, 0, 0, 0, 0, 0)},
		{"fragment header cut short", patch(v6[:header6+4], 4, 0, 4, extFragment)},
		{"routing with segments left", extend(v6, extRouting, ProtocolUDP, 0, 0, 1, 0, 0, 0, 0)},
		{"endless extensions", extend(v6, extDestination, chain...)},
	}
	for _, tt := range tests {
		if p, err := Parse(tt.b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Parse = %+v, %v, want %v", tt.name, p, err, ErrMalformed)
		}
	}
}

func TestMalformedUDP(t *testing.T) {
	v4 := datagram(t, host4, server4, "data")
	tests := []struct {
		name string
		b    []byte
	}{
		{"another protocol", patch(v4, 9, ProtocolTCP)},
		{"no room for a header", patch(v4, 2, 0, header4+7)},
		{"length within the header", patch(v4, header4+4, 0, 7)},
		{"length beyond the end", patch(v4, header4+4, 0, 13)},
		{"fragment", patch(v4, 6, 0x20)},
	}
	for _, tt := range tests {
		p := mustParse(t, tt.b)
		if u, err := p.UDP(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: UDP = %+v, %v, want %v", tt.name, u, err, ErrMalformed)
		}
	}
	p := mustParse(t, patch(v4, header4+4, 0, 10))
	if u, err := p.UDP(); err != nil || string(u.Payload) != "da" {
		t.Errorf("UDP shorter than its packet = %q, %v, want \"da\"", u.Payload, err)
	}
}

func TestOptionsAndExtensions(t *testing.T) {
	v4, v6 := datagram(t, host4, server4, "data"), datagram(t, host6, server6, "data")
	options := append(patch(v4[:header4], 0, 0x46), 1, 1, 1, 1)
	options = append(options, v4[header4:]...)
	options[3] += 4
	tests := []struct {
		name string
		b    []byte
	}{
		{"IPv4 options", options},
		{"hop by hop", extend(v6, extHopByHop, ProtocolUDP, 0, 5, 2, 0, 0, 1, 0)},
		{"two", extend(v6, 0, extDestination, 0, 1, 4, 0, 0, 0, 0, ProtocolUDP, 0, 1, 4, 0, 0, 0, 0)},
		{"sixteen bytes", extend(v6, extDestination, append([]byte{ProtocolUDP, 1}, make([]byte, 14)...)...)},
		{"routing at its end", extend(v6, extRouting, ProtocolUDP, 0, 0, 0, 0, 0, 0, 0)},
		{"a fragment that is the whole", extend(v6, extFragment, ProtocolUDP, 0, 0, 0, 9, 9, 9, 9)},
	}
	for _, tt := range tests {
		p := mustParse(t, tt.b)
		if u, err := p.UDP(); err != nil || string(u.Payload) != "data" || p.IsFragment() {
			t.Errorf("%s: UDP = %q, %v, want \"data\"", tt.name, u.Payload, err)
		}
	}
}

func TestFragmentPlaces(t *testing.T) {
	v4, v6 := datagram(t, host4, server4, "data"), datagram(t, host6, server6, "data")
	tests := []struct {
		name string
		b    []byte
		want Fragment
	}{
		{"whole", v4, Fragment{}},
		{"whole, never to be fragmented", patch(v4, 6, 0x40), Fragment{}},
		{"first", patch(v4, 6, 0x20, 0), Fragment{ID: 77, More: true}},
		{"middle", patch(v4, 6, 0x20, 3), Fragment{ID: 77, Offset: 24, More: true}},
		{"last", patch(v4, 6, 0x1f, 0xff), Fragment{ID: 77, Offset: 65528}},
		{"IPv6 first", extend(v6, extFragment, 17, 0, 0, 1, 0, 1, 0, 2), Fragment{ID: 0x10002, More: true}},
		{"IPv6 last", extend(v6, extFragment, 17, 0, 0, 0x20, 0, 1, 0, 2), Fragment{ID: 0x10002, Offset: 32}},
	}
	for _, tt := range tests {
		p := mustParse(t, tt.b)
		if p.Fragment != tt.want || p.Protocol != ProtocolUDP {
			t.Errorf("%s: Fragment = %+v of protocol %d, want %+v", tt.name, p.Fragment, p.Protocol, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	v6 := datagram(f, host6, server6, "data")
	f.Add(datagram(f, host4, server4, "data"))
	f.Add(v6)
	f.Add(extend(v6, extHopByHop, extFragment, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 1))
	f.Add(extend(v6, extRouting, ProtocolUDP, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		if len(p.Whole) > len(b) || len(p.Payload) > len(p.Whole) {
			t.Fatalf("Parse of %d bytes: whole %d, payload %d", len(b), len(p.Whole), len(p.Payload))
		}
		checkAnswers(t, &p)
		u, err := p.UDP()
		if err != nil {
			return
		}
		again, err := u.Append(nil, 1)
		if err != nil {
			t.Fatalf("Append of what was parsed: %v", err)
		}
		wantSums(t, again)
		q := mustParse(t, again)
		if v, err := q.UDP(); err != nil || v.Source != u.Source || v.Target != u.Target ||
			!bytes.Equal(v.Payload, u.Payload) {
			t.Fatalf("round trip of %+v = %+v, %v", u, v, err)
		}
	})
}

// checkAnswers builds every ICMP message about p.
func checkAnswers(t *testing.T, p *Packet) {
	t.Helper()
	for _, why := range []Reason{PortUnreachable, Prohibited, TooBig} {
		b, err := p.AppendError(nil, why, 1280)
		if err != nil {
			t.Fatalf("AppendError(%d) = %v", why, err)
		}
		wantSums(t, b)
		answer := mustParse(t, b)
		if answer.MayAnswer() {
			t.Fatalf("an error may be answered: %x", b)
		}
	}
	if p.IsEcho() {
		if _, err := p.AppendEchoReply(nil); err != nil {
			t.Fatalf("AppendEchoReply = %v", err)
		}
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte{1}, uint8(3))
	f.Add(bytes.Repeat([]byte{0xff}, 100), uint8(8))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		at := min(int(cut)&^1, len(b))
		if got, want := finish(sum(sum(0, b[:at]), b[at:])), naive(b); got != want && got^want != 0xffff {
			t.Errorf("sum of %x in two = %#x, want %#x", b, got, want)
		}
	})
}

func BenchmarkParseUDP(b *testing.B) {
	packet := datagram(b, host6, server6, strings.Repeat("x", 1200))
	b.ReportAllocs()
	for b.Loop() {
		p, err := Parse(packet)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.UDP(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendUDP(b *testing.B) {
	u := UDP{host4, server4, make([]byte, 1200)}
	var buf [2048]byte
	b.ReportAllocs()
	for b.Loop() {
		if _, err := u.Append(buf[:0], 1); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	var buf [2048]byte
	v4, v6 := datagram(t, host4, server4, "data"), datagram(t, host6, server6, "data")
	for _, packet := range [][]byte{v4, v6} {
		allocs := testing.AllocsPerRun(100, func() {
			p, err := Parse(packet)
			if err != nil {
				t.Fatal(err)
			}
			u, err := p.UDP()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := u.Append(buf[:0], 1); err != nil {
				t.Fatal(err)
			}
			if _, err := p.AppendError(buf[:0], PortUnreachable, 0); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("a packet costs %v allocations, want 0", allocs)
		}
	}
}
