package socksaddr_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// FuzzCut holds Cut, Read and Interner.Cut against each other, and the wire form and the text against the
// value.
func FuzzCut(f *testing.F) {
	f.Add([]byte("\x01\x01\x02\x03\x04\x00\x50rest"))
	f.Add([]byte("\x03\x0bexample.com\x01\xbb"))
	f.Add([]byte("\x03\x0cfe80::1%eth0\x00\x50"))
	f.Add([]byte("\x03\x05[::1]\x00\x50"))
	f.Add([]byte("\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x01\x02\x03\x04\x00\x50"))
	f.Add([]byte("\x02\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, rest, err := socksaddr.Cut(b)
		checkRead(t, b, a, rest, err)
		var in socksaddr.Interner
		interned, internedRest, internedErr := in.Cut(b)
		if (internedErr == nil) != (err == nil) || !bytes.Equal(internedRest, rest) {
			t.Fatalf("Interner.Cut(%q) = %v, %q, %v, want %v, %q, %v",
				b, interned, internedRest, internedErr, a, rest, err)
		}
		if err != nil {
			return
		}
		if interned != a {
			t.Fatalf("Interner.Cut(%q) = %v, want %v", b, interned, a)
		}
		checkRoundTrip(t, a)
	})
}

// checkRead: a stream gives the same as a slice and loses no byte behind the address.
func checkRead(t *testing.T, b []byte, want socksaddr.Addr, wantRest []byte, wantErr error) {
	t.Helper()
	r := bytes.NewReader(b)
	a, err := socksaddr.Read(r)
	if (err == nil) != (wantErr == nil) || a != want {
		t.Fatalf("Read(%q) = %v, %v, want %v, %v", b, a, err, want, wantErr)
	}
	if err == nil && r.Len() != len(wantRest) {
		t.Fatalf("Read(%q) leaves %d bytes, want %d", b, r.Len(), len(wantRest))
	}
}

func checkRoundTrip(t *testing.T, a socksaddr.Addr) {
	t.Helper()
	wire := a.Append(nil)
	if len(wire) != a.Len() || len(wire) > socksaddr.MaxLen {
		t.Fatalf("%v: wire form has %d bytes, Len() = %d, max %d", a, len(wire), a.Len(), socksaddr.MaxLen)
	}
	if again, rest, err := socksaddr.Cut(wire); err != nil || again != a || len(rest) != 0 {
		t.Fatalf("Cut(%q) = %v, %q, %v, want %v", wire, again, rest, err, a)
	}
	if parsed, err := socksaddr.Parse(a.String()); err != nil || parsed != a {
		t.Fatalf("Parse(%q) = %v, %v, want %v", a.String(), parsed, err, a)
	}
}

func FuzzParse(f *testing.F) {
	seeds := []string{
		"1.2.3.4:80", "[::1]:1", "[fe80::1%lo]:1", "example.com:443", "a%b:1", "[a]:1", ":80", "x:+1",
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := socksaddr.Parse(s); err == nil {
			checkRoundTrip(t, a)
		}
	})
}
