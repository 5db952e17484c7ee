package interop

import (
	"net/netip"
	"testing"
)

// Loopback are the hosts on which the suite runs everything.
var Loopback = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}

// Server is a whole Outline server on one host: Caddy, bridge and a Shadowsocks server.
type Server struct {
	Front

	Bridge *Bridge
	Cipher string
	Secret string
}

// secret is that of every server: the suite tests ciphers, not secrets.
const secret = "interop secret"

// StartServer starts a server on Debian's ss-server. It relays TCP and UDP, but ends a flow at the first FIN
// from either side, as ss-server does.
func (p Programs) StartServer(t *testing.T, host netip.Addr, cipher string) *Server {
	t.Helper()
	return p.startServer(t, host, cipher, StartShadowsocks(t, host, cipher))
}

// StartHalfClosingServer starts a server that ends the two halves of a flow apart, as Outline's does. It
// relays TCP alone.
func (p Programs) StartHalfClosingServer(t *testing.T, host netip.Addr, cipher string) *Server {
	t.Helper()
	return p.startServer(t, host, cipher, StartTerminator(t, host, cipher))
}

func (p Programs) startServer(t *testing.T, host netip.Addr, cipher, backend string) *Server {
	t.Helper()
	bridge := StartBridge(t, host, backend)
	front := StartCaddy(t, p.Caddy, host, bridge.Addr)
	return &Server{Front: front, Bridge: bridge, Cipher: cipher, Secret: secret}
}

// StreamURL is the value of tcp_wss.
func (s *Server) StreamURL() string { return "wss://" + s.Addr + StreamPath }

// PacketURL is the value of udp_wss.
func (s *Server) PacketURL() string { return "wss://" + s.Addr + PacketPath }
