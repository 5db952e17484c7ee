package dialer

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// query looks host up in one family, "ip4" or "ip6". The system's resolver does it only while neither a mark
// nor servers of our own are asked for, because its sockets cannot be marked.
func (d *Dialer) query(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if d.sockets.resting() {
		return nil, transport.ErrNoNetwork
	}
	servers := d.servers
	if len(servers) == 0 && d.outside != nil {
		servers = d.outside()
	}
	if d.mark == 0 && len(servers) == 0 {
		return net.DefaultResolver.LookupNetIP(ctx, network, host)
	}
	l := &dnsLookup{
		dialer: d, servers: servers, server: d.firstServer.Load(), broken: make(chan *MarkError, 1),
	}
	r := net.Resolver{PreferGo: true, Dial: l.dial}
	addrs, err := r.LookupNetIP(ctx, network, host)
	if err == nil {
		return addrs, nil
	}
	select {
	case mark := <-l.broken: // of which the resolver keeps the text only
		return nil, mark
	default:
		return nil, err
	}
}

// dnsLookup opens the sockets of one lookup, one after the other.
type dnsLookup struct {
	dialer  *Dialer
	servers []netip.AddrPort
	server  uint32 // index of the server in use
	asked   bool
	broken  chan *MarkError // holds the first
}

// dial replaces the system's server by one of ours, if we have any. Package net dials again over UDP when the
// last answer did not come or was of no use, and over TCP when it was too long.
func (l *dnsLookup) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if len(l.servers) > 0 {
		if l.asked && strings.HasPrefix(network, "udp") {
			l.server = advance(&l.dialer.firstServer, l.server)
		}
		l.asked = true
		address = l.servers[int(l.server%uint32(len(l.servers)))].String()
	}
	nd := net.Dialer{Timeout: connectTimeout, Control: l.dialer.control()}
	conn, err := nd.DialContext(ctx, network, address)
	if err != nil {
		l.noteMark(err)
		return nil, err
	}
	// The resolver reads with a deadline and does not look at ctx, which it cancels when it has its answer.
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn, nil
}

func (l *dnsLookup) noteMark(err error) {
	mark, ok := markError(err)
	if !ok {
		return
	}
	select {
	case l.broken <- mark:
	default:
	}
}

// advance moves every later lookup on from a server that was of no use. The lookups that run at the same
// time and meet the same server move it on once.
func advance(first *atomic.Uint32, failed uint32) uint32 {
	first.CompareAndSwap(failed, failed+1)
	return failed + 1
}
