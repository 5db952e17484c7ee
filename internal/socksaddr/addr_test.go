package socksaddr_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// longName is the longest domain name that fits into the wire form.
var longName = strings.Repeat("a", 255)

func TestWireForm(t *testing.T) {
	tests := []struct {
		name string
		wire string
		want string // "host:port"
	}{
		{"ipv4", "\x01\x01\x02\x03\x04\x00\x50", "1.2.3.4:80"},
		{"ipv6", "\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x01\xbb", "[2001:db8::1]:443"},
		{"domain", "\x03\x0bexample.com\x01\xbb", "example.com:443"},
		{"longest domain", "\x03\xff" + longName + "\xff\xff", longName + ":65535"},
		{"domain in utf-8", "\x03\x03\u20ac\x00\x01", "\u20ac:1"},
		{"zero port", "\x01\x00\x00\x00\x00\x00\x00", "0.0.0.0:0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, rest, err := socksaddr.Cut([]byte(tt.wire + "rest"))
			if err != nil || a.String() != tt.want || string(rest) != "rest" {
				t.Fatalf("Cut(%q) = %v, %q, %v, want %s, \"rest\", nil", tt.wire, a, rest, err, tt.want)
			}
			if got := string(a.Append([]byte("x"))); got != "x"+tt.wire {
				t.Errorf("%v.Append(x) = %q, want %q", a, got, "x"+tt.wire)
			}
			if got := a.Len(); got != len(tt.wire) {
				t.Errorf("%v.Len() = %d, want %d", a, got, len(tt.wire))
			}
			if parsed, err := socksaddr.Parse(tt.want); err != nil || parsed != a {
				t.Errorf("Parse(%q) = %v, %v, want %v", tt.want, parsed, err, a)
			}
			// One byte at a time, and not a byte too many.
			stream := strings.NewReader(tt.wire + "rest")
			read, err := socksaddr.Read(iotest.OneByteReader(stream))
			if err != nil || read != a || stream.Len() != len("rest") {
				t.Errorf("Read(%q) = %v, %v, want %v; left %d bytes, want 4",
					tt.wire, read, err, a, stream.Len())
			}
		})
	}
}

// TestCutNormalizes: one target has one value, however a client spells it.
func TestCutNormalizes(t *testing.T) {
	want := socksaddr.FromAddrPort(netip.MustParseAddrPort("1.2.3.4:80"))
	mapped := "\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x01\x02\x03\x04\x00\x50"
	tests := []struct{ name, wire string }{
		{"ipv4 mapped into ipv6", mapped},
		{"ipv4 spelt as a name", "\x03\x071.2.3.4\x00\x50"},
		{"mapped and spelt as a name", "\x03\x0e::ffff:1.2.3.4\x00\x50"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if a, _, err := socksaddr.Cut([]byte(tt.wire)); err != nil || a != want {
				t.Errorf("Cut(%q) = %v, %v, want %v", tt.wire, a, err, want)
			}
		})
	}
	zoned, _, err := socksaddr.Cut([]byte("\x03\x0cfe80::1%eth0\x00\x50"))
	if err != nil || zoned.IP() != netip.MustParseAddr("fe80::1") {
		t.Errorf("Cut(name with a zone) = %v, %v, want fe80::1", zoned, err)
	}
}

func TestCutErrors(t *testing.T) {
	tests := []struct {
		name string
		wire string
		want error
	}{
		{"nothing", "", socksaddr.ErrShort},
		{"type only", "\x01", socksaddr.ErrShort},
		{"short ipv4", "\x01\x01\x02\x03\x04\x00", socksaddr.ErrShort},
		{"short ipv6", "\x04" + strings.Repeat("\x00", 17), socksaddr.ErrShort},
		{"short name", "\x03\x05abcd\x00\x50", socksaddr.ErrShort},
		{"type 0", "\x00\x01\x02\x03\x04\x00\x50", socksaddr.ErrType},
		{"type 2", "\x02\x01\x02\x03\x04\x00\x50", socksaddr.ErrType},
		{"empty name", "\x03\x00\x00\x50", socksaddr.ErrDomain},
		{"space in name", "\x03\x03a b\x00\x50", socksaddr.ErrDomain},
		{"newline in name", "\x03\x03a\nb\x00\x50", socksaddr.ErrDomain},
		{"nul in name", "\x03\x03a\x00b\x00\x50", socksaddr.ErrDomain},
		{"delete in name", "\x03\x03a\x7fb\x00\x50", socksaddr.ErrDomain},
		{"port in name", "\x03\x04a:80\x00\x50", socksaddr.ErrDomain},
		{"bracketed name", "\x03\x05[::1]\x00\x50", socksaddr.ErrDomain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, _, err := socksaddr.Cut([]byte(tt.wire))
			if !errors.Is(err, tt.want) || a != (socksaddr.Addr{}) {
				t.Errorf("Cut(%q) = %v, %v, want no address, %v", tt.wire, a, err, tt.want)
			}
			var in socksaddr.Interner
			if _, _, err := in.Cut([]byte(tt.wire)); !errors.Is(err, tt.want) {
				t.Errorf("Interner.Cut(%q) = %v, want %v", tt.wire, err, tt.want)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	tests := []struct {
		name string
		wire string
		want error
	}{
		{"nothing", "", io.EOF},
		{"type only", "\x01", io.ErrUnexpectedEOF},
		{"two bytes", "\x01\x01", io.ErrUnexpectedEOF},
		{"short name", "\x03\x05abc", io.ErrUnexpectedEOF},
		{"bad type", "\x09\x00", socksaddr.ErrType},
		{"bad name", "\x03\x01\x00\x00\x50", socksaddr.ErrDomain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := socksaddr.Read(strings.NewReader(tt.wire))
			if !errors.Is(err, tt.want) {
				t.Errorf("Read(%q) = %v, %v, want %v", tt.wire, a, err, tt.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, in string }{
		{"empty", ""},
		{"no port", "example.com"},
		{"empty port", "example.com:"},
		{"no host", ":80"},
		{"port too large", "example.com:65536"},
		{"negative port", "example.com:-1"},
		{"signed port", "example.com:+1"},
		{"service name", "example.com:http"},
		{"ipv6 without brackets", "::1:80"},
		{"space", "exam ple.com:80"},
		{"port twice", "[example.com:80]:80"},
		{"name too long", longName + "a:80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if a, err := socksaddr.Parse(tt.in); err == nil {
				t.Errorf("Parse(%q) = %v, nil, want an error", tt.in, a)
			}
		})
	}
}

// textAddr is an address of a kind that the package does not know.
type textAddr string

func (textAddr) Network() string  { return "text" }
func (a textAddr) String() string { return string(a) }

func TestFromNetAddr(t *testing.T) {
	v4 := netip.MustParseAddrPort("1.2.3.4:80")
	tests := []struct {
		name string
		in   net.Addr
		want string // "" is an error
	}{
		{"itself", socksaddr.FromAddrPort(v4), "1.2.3.4:80"},
		{"udp", net.UDPAddrFromAddrPort(v4), "1.2.3.4:80"},
		{"tcp", net.TCPAddrFromAddrPort(v4), "1.2.3.4:80"},
		{"udp as 16 bytes", &net.UDPAddr{IP: net.IPv4(1, 2, 3, 4), Port: 80}, "1.2.3.4:80"},
		{"tcp with a zone", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 80, Zone: "lo"}, "[fe80::1]:80"},
		{"text", textAddr("example.com:80"), "example.com:80"},
		{"bad text", textAddr("example.com"), ""},
		{"udp without an address", &net.UDPAddr{Port: 80}, ""},
		{"no tcp address", (*net.TCPAddr)(nil), ""},
		{"nil", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := socksaddr.FromNetAddr(tt.in)
			if (err != nil) != (tt.want == "") || err == nil && a.String() != tt.want {
				t.Errorf("FromNetAddr(%v) = %v, %v, want %q", tt.in, a, err, tt.want)
			}
		})
	}
}

func TestAccessors(t *testing.T) {
	name, err := socksaddr.Parse("example.com:443")
	if err != nil {
		t.Fatal(err)
	}
	if name.Host() != "example.com" || name.Port() != 443 || name.IP().IsValid() || name.Network() != "udp" {
		t.Errorf("%v has host %q, port %d, IP %v", name, name.Host(), name.Port(), name.IP())
	}
	v6, err := socksaddr.Parse("[2001:db8::1]:53")
	if err != nil {
		t.Fatal(err)
	}
	if v6.Host() != "2001:db8::1" || v6.Port() != 53 || v6.IP() != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("accessors of %v = %q, %d, %v", v6, v6.Host(), v6.Port(), v6.IP())
	}
	// Replies that name no address carry the zero one.
	if got := (socksaddr.Addr{}).Append(nil); !bytes.Equal(got, []byte{1, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("Addr{}.Append(nil) = %x, want 01000000000000", got)
	}
}
