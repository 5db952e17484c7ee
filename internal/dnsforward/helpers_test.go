package dnsforward

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	serverA = netip.MustParseAddrPort("192.0.2.53:53")
	serverB = netip.MustParseAddrPort("[2001:db8::53]:53")
)

const (
	typeA    = dnsmessage.TypeA
	typeAAAA = dnsmessage.TypeAAAA
)

// query packs a question with recursion desired.
func query(t testing.TB, id uint16, name string, kind dnsmessage.Type, edns ...uint16) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET,
		}},
	}
	for _, size := range edns {
		m.Additionals = append(m.Additionals, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{
				Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeOPT, Class: dnsmessage.Class(size),
			},
			Body: &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 3, Data: []byte("nsid")}}},
		})
	}
	return pack(t, m)
}

func pack(t testing.TB, m dnsmessage.Message) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unpack(t testing.TB, b []byte) dnsmessage.Message {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatalf("unpack %x: %v", b, err)
	}
	return m
}

// response is the beginning of an answer to a query.
func response(t testing.TB, query []byte) dnsmessage.Message {
	t.Helper()
	m := unpack(t, query)
	m.Response, m.RecursionAvailable = true, true
	m.Additionals = nil
	return m
}

func address4(name dnsmessage.Name, ttl uint32, last byte) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl},
		Body:   &dnsmessage.AResource{A: [4]byte{203, 0, 113, last}},
	}
}

func soa(ttl, minimum uint32) dnsmessage.Resource {
	name := dnsmessage.MustNewName("example.")
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl},
		Body:   &dnsmessage.SOAResource{NS: name, MBox: name, MinTTL: minimum},
	}
}

// answer is an answer with that many addresses.
func answer(t testing.TB, query []byte, ttl uint32, count int) []byte {
	t.Helper()
	m := response(t, query)
	for i := range count {
		m.Answers = append(m.Answers, address4(m.Questions[0].Name, ttl, byte(i)))
	}
	return pack(t, m)
}

// zone is a DNS server behind fakes of the tunnel. Its functions say what it answers; nil is nothing.
type zone struct {
	t    testing.TB
	udp  func(server string, query []byte) [][]byte
	tcp  func(server string, query []byte) []byte
	fail error // of dials, by UDP
	lag  time.Duration

	mu       sync.Mutex
	asked    []string // "udp " or "tcp " and the name, in the order they came
	ids      []uint16
	sockets  []*packetSocket
	streams  []*transporttest.PipeConn // the server's sides
	dialErrs int
	serving  sync.WaitGroup
}

func (z *zone) note(proto string, q []byte) {
	name := unpack(z.t, q).Questions[0].Name.String()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked = append(z.asked, proto+" "+name)
	z.ids = append(z.ids, binary.BigEndian.Uint16(q))
}

// log returns what was asked since the last call.
func (z *zone) log() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	asked := z.asked
	z.asked = nil
	return asked
}

func (z *zone) wantAsked(want ...string) {
	z.t.Helper()
	if got := z.log(); !slices.Equal(got, want) {
		z.t.Errorf("asked = %q, want %q", got, want)
	}
}

func (z *zone) opened() (sockets, streams int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return len(z.sockets), len(z.streams)
}

// ListenPacket implements transport.PacketListener.
func (z *zone) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if err := sleep(ctx, z.lag); err != nil {
		return nil, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.fail != nil {
		z.dialErrs++
		return nil, z.fail
	}
	s := &packetSocket{zone: z, in: make(chan packet, 4096), closed: make(chan struct{})}
	z.sockets = append(z.sockets, s)
	return s, nil
}

// DialStream implements transport.StreamDialer.
func (z *zone) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	if err := sleep(ctx, z.lag); err != nil {
		return nil, err
	}
	if z.tcp == nil {
		return nil, errors.New("refused")
	}
	near, far := transporttest.Pipe()
	z.mu.Lock()
	z.streams = append(z.streams, far)
	z.mu.Unlock()
	z.serving.Go(func() { z.serveStream(addr, far) })
	return near, nil
}

func (z *zone) serveStream(addr string, conn *transporttest.PipeConn) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, q); err != nil {
			return
		}
		z.note("tcp", q)
		if a := z.tcp(addr, q); a != nil {
			framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)
			if _, err := conn.Write(framed); err != nil {
				return
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type packet struct {
	b    []byte
	from net.Addr
}

// packetSocket is an upstream socket whose far side is the zone.
type packetSocket struct {
	net.PacketConn
	zone   *zone
	in     chan packet
	once   sync.Once
	closed chan struct{}
}

func (s *packetSocket) WriteTo(b []byte, addr net.Addr) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	s.zone.note("udp", b)
	if s.zone.udp != nil {
		for _, a := range s.zone.udp(addr.String(), bytes.Clone(b)) {
			s.in <- packet{a, addr}
		}
	}
	return len(b), nil
}

func (s *packetSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-s.in:
		return copy(b, p.b), p.from, nil
	case <-s.closed:
		return 0, nil, net.ErrClosed
	}
}

func (s *packetSocket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// forward makes a forwarder through z that ends with the test.
func (z *zone) forward(o Options) *Forwarder {
	o.Stream = z
	if o.Packet == nil {
		o.Packet = z
	}
	if o.Servers == nil {
		o.Servers = []netip.AddrPort{serverA}
	}
	f := New(o)
	return f
}

// end closes the forwarder and waits for the zone.
func (z *zone) end(f *Forwarder) {
	_ = f.Close()
	z.serving.Wait()
}

// ask queries and demands an answer.
func ask(t testing.TB, f *Forwarder, q []byte) dnsmessage.Message {
	t.Helper()
	a, err := f.Query(t.Context(), q)
	if err != nil {
		t.Fatalf("Query = %v", err)
	}
	m := unpack(t, a)
	want := unpack(t, q)
	if m.ID != want.ID || !m.Response || m.Questions[0] != want.Questions[0] {
		t.Fatalf("answer %d to %v, want %d to %v", m.ID, m.Questions, want.ID, want.Questions)
	}
	return m
}
