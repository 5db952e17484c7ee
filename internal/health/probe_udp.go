package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// maxAnswer is more than the 512 bytes that a name server may send to a query without EDNS (RFC 1035, section
// 2.3.4), for those that do not care.
const maxAnswer = 4096

// Question is what name servers are asked.
type Question struct {
	Name string // "example.com"; the final dot may be missing
	Type string // "A", "AAAA", "CNAME", "MX", "NS", "SOA" or "TXT"
}

// UDPProbe asks name servers, "host:port". Any answer to the question's id passes, "no such name" too: it is
// the path that is tested. A query without an answer is sent again at half time, since datagrams may get
// lost. There is at least one target.
func UDPProbe(l transport.PacketListener, targets []string, q Question, limits Timeouts) (Probe, error) {
	query, err := q.pack()
	if err != nil {
		return nil, fmt.Errorf("question %s %s: %w", q.Name, q.Type, err)
	}
	p := &udpProbe{listener: l, query: query, limits: limits}
	p.targets.targets = targets
	return p.run, nil
}

var errUnknownType = errors.New("unknown type")

// pack returns a query with id 0.
func (q Question) pack() ([]byte, error) {
	types := map[string]dnsmessage.Type{
		"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA,
		"CNAME": dnsmessage.TypeCNAME, "MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS,
		"SOA": dnsmessage.TypeSOA, "TXT": dnsmessage.TypeTXT,
	}
	kind, ok := types[q.Type]
	if !ok {
		return nil, errUnknownType
	}
	name, err := dnsmessage.NewName(strings.TrimSuffix(q.Name, ".") + ".")
	if err != nil {
		return nil, err
	}
	return (&dnsmessage.Message{
		Header:    dnsmessage.Header{RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: kind, Class: dnsmessage.ClassINET}},
	}).Pack()
}

type udpProbe struct {
	listener transport.PacketListener
	query    []byte
	limits   Timeouts
	targets  rotation
}

func (p *udpProbe) run(ctx context.Context) (time.Duration, error) {
	targets := p.targets.pair()
	dialing, cancel := within(ctx, p.limits.Dial)
	conn, err := p.listener.ListenPacket(dialing)
	cancel()
	if err != nil {
		return 0, &StageError{Transport, targets[0], err}
	}
	defer func() { _ = conn.Close() }()
	asking, cancel := within(ctx, p.limits.Exchange)
	defer cancel()
	defer interrupt(asking, conn)()
	e := exchangeDNS{conn: conn, query: p.query, first: uint16(rand.N(1 << 16))} //nolint:gosec // no secret
	rtt, err := e.run(asking, targets)
	if err != nil {
		return 0, &StageError{Quality, strings.Join(targets, ", "), explain(asking, err)}
	}
	return rtt, nil
}

// exchangeDNS is one or more queries and the wait for an answer to any of them.
type exchangeDNS struct {
	conn  net.PacketConn
	query []byte
	first uint16 // the id of the first query; those of the others follow
	sent  []time.Time
}

// run asks the first target, and all of them when half of the time is over.
func (e *exchangeDNS) run(ctx context.Context, targets []string) (time.Duration, error) {
	if err := e.ask(targets[0]); err != nil {
		return 0, err
	}
	end, bounded := ctx.Deadline()
	if !bounded {
		return e.await()
	}
	_ = e.conn.SetReadDeadline(time.Now().Add(time.Until(end) / 2))
	rtt, err := e.await()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return rtt, err
	}
	for _, target := range targets {
		if err := e.ask(target); err != nil {
			return 0, err
		}
	}
	_ = e.conn.SetReadDeadline(time.Time{})
	if ctx.Err() != nil { // its interruption may have come before, and been undone
		return 0, context.Cause(ctx)
	}
	return e.await()
}

// ask sends the query under an id of its own.
func (e *exchangeDNS) ask(target string) error {
	query := append([]byte(nil), e.query...)
	id := e.first + uint16(len(e.sent))
	query[0], query[1] = byte(id>>8), byte(id)
	e.sent = append(e.sent, time.Now())
	_, err := e.conn.WriteTo(query, packetAddr(target))
	return err
}

// await returns how long the answer took, counted from the query that it answers.
func (e *exchangeDNS) await() (time.Duration, error) {
	buf := make([]byte, maxAnswer)
	for {
		n, _, err := e.conn.ReadFrom(buf)
		if err != nil {
			return 0, err
		}
		if i, ok := answered(buf[:n], e.first, len(e.sent)); ok {
			return time.Since(e.sent[i]), nil
		}
	}
}

// answered reports which of n queries, whose ids follow each other from first on, a datagram answers.
func answered(datagram []byte, first uint16, n int) (int, bool) {
	var p dnsmessage.Parser
	head, err := p.Start(datagram)
	if err != nil || !head.Response {
		return 0, false
	}
	i := int(head.ID - first)
	return i, i < n
}

// packetAddr is the address of a target, whose host may be a name that is looked up behind the path.
func packetAddr(target string) net.Addr {
	if ap, err := netip.ParseAddrPort(target); err == nil {
		return net.UDPAddrFromAddrPort(ap)
	}
	return namedAddr(target)
}

// namedAddr is a "host:port" with a name for a host.
type namedAddr string

// Network implements net.Addr.
func (namedAddr) Network() string { return "udp" }

// String implements net.Addr.
func (a namedAddr) String() string { return string(a) }

func isIPv6(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Is6()
}
