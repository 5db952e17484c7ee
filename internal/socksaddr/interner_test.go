package socksaddr

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

func TestInternerParsesAsCut(t *testing.T) {
	var in Interner
	wire := append(mustParse(t, "example.com:53").Append(nil), "payload"...)
	for range 2 { // the first parses, the second remembers
		a, rest, err := in.Cut(wire)
		if err != nil || a.String() != "example.com:53" || string(rest) != "payload" {
			t.Fatalf("Cut = %v, %q, %v, want example.com:53, \"payload\", nil", a, rest, err)
		}
	}
}

// TestInternerOwnsItsMemory: the caller's buffer is used again for the next packet.
func TestInternerOwnsItsMemory(t *testing.T) {
	var in Interner
	buf := mustParse(t, "example.com:53").Append(nil)
	first, _, err := in.Cut(buf)
	if err != nil {
		t.Fatal(err)
	}
	copy(buf, mustParse(t, "example.org:53").Append(nil))
	second, _, err := in.Cut(buf)
	if err != nil {
		t.Fatal(err)
	}
	if first.String() != "example.com:53" || second.String() != "example.org:53" {
		t.Errorf("Cut twice = %v, %v, want example.com:53, example.org:53", first, second)
	}
}

func TestInternerIsBounded(t *testing.T) {
	var in Interner
	for i := range 10 * maxInterned {
		name := fmt.Sprintf("host%d.example:1", i)
		a, _, err := in.Cut(mustParse(t, name).Append(nil))
		if err != nil || a.String() != name {
			t.Fatalf("Cut(%s) = %v, %v", name, a, err)
		}
		if len(in.known) > maxInterned {
			t.Fatalf("after %d targets %d are known, want at most %d", i+1, len(in.known), maxInterned)
		}
	}
}

// TestIntern: an address is known however it came.
func TestIntern(t *testing.T) {
	var in Interner
	for _, text := range []string{"192.0.2.1:53", "[2001:db8::1]:443", "example.com:53"} {
		a := mustParse(t, text)
		if got := in.Intern(a); got != net.Addr(a) {
			t.Errorf("Intern(%v) = %v", a, got)
		}
		if cut, _, err := in.Cut(a.Append(nil)); err != nil || cut != net.Addr(a) {
			t.Errorf("Cut of %v = %v, %v", a, cut, err)
		}
		if allocs := testing.AllocsPerRun(100, func() { in.Intern(a) }); allocs != 0 {
			t.Errorf("Intern(%v) allocates %v times, want 0", a, allocs)
		}
	}
	for port := range uint16(10 * maxInterned) {
		in.Intern(FromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), port)))
	}
	if len(in.known) > maxInterned {
		t.Errorf("%d addresses known, want at most %d", len(in.known), maxInterned)
	}
}

func TestInternerDoesNotKeepErrors(t *testing.T) {
	var in Interner
	for _, wire := range []string{"", "\x02", "\x03\x00\x00\x00", "\x07\x00"} {
		if a, _, err := in.Cut([]byte(wire)); err == nil {
			t.Errorf("Cut(%q) = %v, nil, want an error", wire, a)
		}
	}
	if len(in.known) != 0 {
		t.Errorf("%d bad addresses are known, want 0", len(in.known))
	}
}

func TestInternerAllocatesNothing(t *testing.T) {
	var in Interner
	wire := mustParse(t, "example.com:53").Append(nil)
	allocs := testing.AllocsPerRun(100, func() {
		if _, _, err := in.Cut(wire); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("Cut of a known address allocates %v times, want 0", allocs)
	}
}

func BenchmarkInterner(b *testing.B) {
	var in Interner
	wire := mustParse(b, "[2001:db8::1]:443").Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := in.Cut(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func mustParse(tb testing.TB, hostport string) Addr {
	tb.Helper()
	a, err := Parse(hostport)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}
