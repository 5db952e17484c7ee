package dialer

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	// connectTimeout ends one attempt to connect. The kernel's own takes over two minutes.
	connectTimeout = 10 * time.Second

	// A peer that vanished is noticed after keepAliveIdle + keepAliveCount * keepAliveInterval, one minute.
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 3

	// goodFor is how long the address that worked last is tried first. After that IPv6 has its chance again.
	goodFor = 10 * time.Minute
)

// Options of a Dialer. The zero value uses the system's resolver and no mark.
type Options struct {
	// Mark is the firewall mark (SO_MARK) of every socket, those of DNS lookups included. 0 sets none.
	Mark uint32
	// Servers are the DNS servers to ask, in this order. None means the system's.
	Servers []netip.AddrPort
	// Outside is asked before each lookup, while there are no Servers, for those to ask instead of the
	// system's; nil is none.
	Outside func() []netip.AddrPort
	// Sockets remembers the connections; nil is one of its own. Dialers may share it.
	Sockets *Sockets
	// Logger may be nil.
	Logger *slog.Logger
}

// Dialer opens sockets that leave this host. All methods may be called concurrently.
type Dialer struct {
	mark     uint32
	servers  []netip.AddrPort
	outside  func() []netip.AddrPort // may be nil
	setMark  func(fd uintptr, mark uint32) error
	sockets  *Sockets
	connect  connectFunc
	resolver resolver
	good     table[string, goodAddr] // by name

	firstServer atomic.Uint32 // where lookups begin, modulo the number of servers
}

var _ transport.StreamDialer = (*Dialer)(nil)

// goodAddr is the address that a name was last reached at.
type goodAddr struct {
	ip    netip.Addr
	until time.Time
}

// New returns a Dialer. It does no I/O.
func New(o Options) *Dialer {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	d := &Dialer{
		mark: o.Mark, servers: slices.Clone(o.Servers), outside: o.Outside,
		setMark: setMark, sockets: o.Sockets,
	}
	if d.sockets == nil {
		d.sockets = new(Sockets)
	}
	d.good.max = maxNames
	d.connect = d.sockets.persistent(d.connectTCP)
	d.resolver.query = d.query
	d.resolver.logger = logger
	d.resolver.known.max = maxQuestions
	return d
}

// DialStream connects to addr, "host:port" with a numeric port. The stream is a *net.TCPConn. The error is an
// *Error, unless addr is malformed.
func (d *Dialer) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	t, err := parseTarget(addr)
	if err != nil {
		return nil, err
	}
	families, lookup := 2, func(ctx context.Context) <-chan answer { return d.resolver.ask(ctx, t.host) }
	if t.ip.IsValid() {
		families, lookup = 1, t.literal
	}
	r := newRace(d.connect, t.port, d.goodAddr(t.host))
	conn, ip := r.run(ctx, families, lookup)
	if conn == nil {
		return nil, r.explain(ctx, addr)
	}
	if t.host != "" {
		d.good.store(t.host, goodAddr{ip, time.Now().Add(goodFor)})
	}
	return conn, nil
}

// LookupAddrs returns the addresses of host, a name or an IP address, in the order in which DialStream tries
// them.
func (d *Dialer) LookupAddrs(ctx context.Context, host string) ([]netip.Addr, error) {
	t := parseHost(host)
	if t.ip.IsValid() {
		return []netip.Addr{t.ip}, nil
	}
	return d.resolver.addrs(ctx, t.host, d.goodAddr(t.host))
}

// ListenPacket returns a UDP socket on a port of the system's choice. network is "udp4" or "udp6".
func (d *Dialer) ListenPacket(ctx context.Context, network string) (net.PacketConn, error) {
	if network != "udp4" && network != "udp6" {
		return nil, net.UnknownNetworkError(network)
	}
	if d.sockets.resting() {
		return nil, transport.ErrNoNetwork
	}
	lc := net.ListenConfig{Control: d.control()}
	conn, err := lc.ListenPacket(ctx, network, ":0")
	if mark, ok := markError(err); ok {
		return nil, mark
	}
	return conn, err
}

// Rest has attempts to connect, lookups and those under way fail at once with transport.ErrNoNetwork, until
// Renew, for all dialers with the same Sockets. What is open stays open.
func (d *Dialer) Rest() {
	d.sockets.rest()
	d.resolver.flights.renew()
}

// Renew begins lookups and attempts to connect anew that nobody has answered yet, because the network of this
// host has changed, and forgets which hosts did not exist.
func (d *Dialer) Renew() {
	d.sockets.renew()
	d.resolver.renew()
}

func (d *Dialer) goodAddr(host string) netip.Addr {
	if good, ok := d.good.load(host); ok && time.Now().Before(good.until) {
		return good.ip
	}
	return netip.Addr{}
}

// literal is the lookup of an IP address.
func (t target) literal(context.Context) <-chan answer {
	answers := make(chan answer, 1)
	answers <- answer{family: familyOf(t.ip), addrs: []netip.Addr{t.ip}}
	return answers
}

func (d *Dialer) connectTCP(ctx context.Context, addr netip.AddrPort) (transport.StreamConn, error) {
	// Package net sets TCP_NODELAY.
	nd := net.Dialer{
		Timeout: connectTimeout, KeepAliveConfig: usual, Control: d.control(),
	}
	conn, err := nd.DialTCP(ctx, "tcp", netip.AddrPort{}, addr)
	if err != nil {
		return nil, explainZone(addr.Addr(), err)
	}
	d.sockets.add(conn)
	return conn, nil
}

// control puts the mark on a socket before it is used. It is nil when there is no mark.
func (d *Dialer) control() func(network, address string, c syscall.RawConn) error {
	if d.mark == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctrlErr := c.Control(func(fd uintptr) { err = d.setMark(fd, d.mark) }); ctrlErr != nil {
			return ctrlErr
		}
		if err != nil {
			return &MarkError{Mark: d.mark, Err: err}
		}
		return nil
	}
}
