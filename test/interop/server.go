package interop

import (
	"net"
	"net/netip"
	"os/exec"
	"testing"
)

// Loopback are the hosts on which the suite runs everything.
var Loopback = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}

// Front is a running web server that does TLS and passes every request to a bridge.
type Front struct {
	Addr  string
	CA    string // PEM file of the CA that signed its certificate
	HTTP3 bool

	process *Process
}

// StartFront starts a front of one kind on host, with the HTTP/1.1 server at backend behind it.
type StartFront func(t *testing.T, host netip.Addr, backend string) Front

// serveFront starts the program of a front and waits until it serves.
func serveFront(t *testing.T, cmd *exec.Cmd, f Front) Front {
	t.Helper()
	f.process = StartProcess(t, cmd)
	f.process.WaitServing(t, f.Addr)
	if f.HTTP3 {
		f.process.WaitBound(t, f.Addr)
	}
	return f
}

// StartAgain starts another program like that of the front, which must have left its port.
func (f Front) StartAgain(t *testing.T) Front {
	t.Helper()
	before := f.process.cmd
	cmd := exec.Command(before.Path, before.Args[1:]...)
	cmd.Env = before.Env
	return serveFront(t, cmd, f)
}

// Server is a whole Outline server on one host: a front, a bridge and a Shadowsocks server.
type Server struct {
	Front

	Bridge *Bridge
	Cipher string
	Secret string
	Query  string // of both URLs: what the client is told about carriers
	Name   string // in both URLs, in place of the address; the client looks it up at Names
	Names  string // address of a name server
}

// secret is that of every server: the suite tests ciphers, not secrets.
const secret = "interop secret"

// StartServer starts Caddy in front of Debian's ss-server. It relays TCP and UDP, but ends a flow at the
// first FIN from either side, as ss-server does.
func (p Programs) StartServer(t *testing.T, host netip.Addr, cipher string) *Server {
	t.Helper()
	addr := StartShadowsocks(t, host, cipher)
	return startServer(t, host, cipher, Backend{TCP: addr, UDP: addr}, p.StartCaddy)
}

// StartHalfClosingServer starts Caddy in front of a server that ends the two halves of a flow apart, as
// Outline's does. It relays TCP alone.
func (p Programs) StartHalfClosingServer(t *testing.T, host netip.Addr, cipher string) *Server {
	t.Helper()
	return startServer(t, host, cipher, Backend{TCP: StartTerminator(t, host, cipher)}, p.StartCaddy)
}

// StartWholeServer starts a front before a server that ends the two halves of a flow apart, and relays UDP
// too.
func StartWholeServer(t *testing.T, host netip.Addr, cipher string, start StartFront) *Server {
	t.Helper()
	backend := Backend{TCP: StartTerminator(t, host, cipher), UDP: StartShadowsocks(t, host, cipher)}
	return startServer(t, host, cipher, backend, start)
}

func startServer(t *testing.T, host netip.Addr, cipher string, backend Backend, start StartFront) *Server {
	t.Helper()
	bridge := StartBridge(t, host, backend)
	front := start(t, host, bridge.Addr)
	return &Server{Front: front, Bridge: bridge, Cipher: cipher, Secret: secret}
}

// StreamURL is the value of tcp_wss.
func (s *Server) StreamURL() string { return "wss://" + s.host() + StreamPath + s.query() }

// PacketURL is the value of udp_wss.
func (s *Server) PacketURL() string { return "wss://" + s.host() + PacketPath + s.query() }

func (s *Server) host() string {
	if s.Name == "" {
		return s.Addr
	}
	_, port, _ := net.SplitHostPort(s.Addr) // made by this suite
	return net.JoinHostPort(s.Name, port)
}

func (s *Server) query() string {
	if s.Query == "" {
		return ""
	}
	return "?" + s.Query
}
