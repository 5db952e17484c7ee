package socks5

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// maxHandshake is every field at its longest: methods, credentials, request.
const maxHandshake = (2 + 255) + (1 + 1 + 255 + 1 + 255) + (3 + socksaddr.MaxLen)

func FuzzHandshake(f *testing.F) {
	users := newUsers(f, "alice:secret")
	f.Add(helloOpen+connectName+"early data", false)
	f.Add(helloOpen+associateAny, false)
	f.Add(helloPassword+"\x01\x05alice\x06secret"+connectV4, true)
	f.Add(helloPassword+"\x01\x05alice\x05wrong"+connectV4, true)
	f.Add("GET / HTTP/1.1\r\n\r\n", false)
	f.Add("\x04\x01\x00\x50\x01\x02\x03\x04\x00", false)
	f.Add("\x05\xff"+strings.Repeat("\x00", 255)+"\x05\x09\x00\x03\xff"+strings.Repeat("a", 257), false)
	f.Fuzz(func(t *testing.T, says string, withUsers bool) {
		if len(says) < 2 {
			return
		}
		server := Users{}
		if withUsers {
			server = users
		}
		req, said, err := talk(says, server)
		if read := len(says) - len(said.unread); read > maxHandshake {
			t.Fatalf("read %d bytes, want at most %d", read, maxHandshake)
		}
		if len(said.written) > 4 {
			t.Fatalf("wrote %q, want at most 4 bytes", said.written)
		}
		if err != nil {
			return
		}
		if withUsers && !strings.Contains(says, "\x05alice\x06secret") {
			t.Fatalf("negotiate(%q) = nil, want a failed login", says)
		}
		if req.command != commandConnect && req.command != commandAssociate || req.target.Host() == "" {
			t.Fatalf("negotiate(%q) = %d %v", says, req.command, req.target)
		}
	})
}

func FuzzUDPHeader(f *testing.F) {
	f.Add([]byte(toExample + "data"))
	f.Add([]byte(fromDNS))
	f.Add([]byte("\x00\x00\x01" + exampleAddr))
	f.Add([]byte("\xff\xff\x00\x04" + strings.Repeat("\x00", 18)))
	f.Add([]byte("\x00\x00\x00\x03\x00\x00\x00"))
	from := netip.MustParseAddrPort("192.0.2.1:7")
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &association{owner: from.Addr()}
		target, payload, drop := a.open(b, from)
		if locked := a.port.Load() != 0; locked != (drop == "") {
			t.Fatalf("open(%q): port locked %v although drop is %q", b, locked, drop)
		}
		if drop != "" {
			return
		}
		// What a server would send back for it parses to the same.
		again := append([]byte{0, 0, 0}, target.(socksaddr.Addr).Append(nil)...)
		again = append(again, payload...)
		target2, payload2, drop := a.open(again, from)
		if drop != "" || target2 != target || string(payload2) != string(payload) {
			t.Fatalf("open(%q) = %v, %q, %q, want %v, %q", again, target2, payload2, drop, target, payload)
		}
		if len(payload) > len(b)-headerLen {
			t.Fatalf("open(%q): %d bytes of payload", b, len(payload))
		}
	})
}
