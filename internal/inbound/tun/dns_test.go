package tun

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/ippacket"
)

// resolveFunc is a Resolver.
type resolveFunc func(ctx context.Context, query []byte) ([]byte, error)

func (f resolveFunc) Query(ctx context.Context, query []byte) ([]byte, error) { return f(ctx, query) }

// dnsQuery asks for the address of a name.
func dnsQuery(t testing.TB, id uint16, name string) string {
	t.Helper()
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}},
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// dnsAnswer has that many addresses.
func dnsAnswer(t testing.TB, query []byte, count int) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Fatal(err)
	}
	m.Response = true
	for i := range count {
		name := m.Questions[0].Name
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, byte(i)}},
		})
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestQueriesAreAnswered as from the server that was asked.
func TestQueriesAreAnswered(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.settings.Packet = nil
		r.settings.DNS = resolveFunc(func(_ context.Context, q []byte) ([]byte, error) {
			return dnsAnswer(t, q, 1), nil
		})
		query := dnsQuery(t, 77, "example.com.")
		r.send(query, host4, dns4)
		r.wantDatagram(string(dnsAnswer(t, []byte(query), 1)), dns4, host4)
		r.send(query, host6, dns6)
		r.wantDatagram(string(dnsAnswer(t, []byte(query), 1)), dns6, host6)
		r.wantDrops()
		if n := r.tally.opened.Load(); n != 0 {
			t.Errorf("%d associations for queries, want none", n)
		}
	})
}

// message returns the DNS message that the host got.
func (r *door) message() dnsmessage.Message {
	r.t.Helper()
	packets := r.host.take()
	if len(packets) != 1 {
		r.t.Fatalf("host got %d packets, want 1", len(packets))
	}
	p, err := ippacket.Parse(packets[0])
	if err != nil {
		r.t.Fatal(err)
	}
	u, err := p.UDP()
	if err != nil {
		r.t.Fatal(err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(u.Payload); err != nil {
		r.t.Fatal(err)
	}
	return m
}

func TestLongAnswersAreTruncated(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.settings.DNS = resolveFunc(func(_ context.Context, q []byte) ([]byte, error) {
			return dnsAnswer(t, q, 100), nil
		})
		r.send(dnsQuery(t, 77, "example.com."), host4, dns4)
		if m := r.message(); !m.Truncated || len(m.Answers) != 0 || m.ID != 77 {
			t.Errorf("answer = %+v, want a truncated one", m)
		}
	})
}

func TestResolverFails(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		r.settings.DNS = resolveFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != queryTimeout {
				t.Errorf("a query may take %v, want %v", time.Until(deadline), queryTimeout)
			}
			return nil, errDown
		})
		r.send(dnsQuery(t, 77, "example.com."), host4, dns4)
		if m := r.message(); m.RCode != dnsmessage.RCodeServerFailure || m.ID != 77 {
			t.Errorf("answer = %+v, want %v", m, dnsmessage.RCodeServerFailure)
		}
	})
}

func TestQueriesThatAreRefused(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		asked := 0
		r.settings.DNS = resolveFunc(func(_ context.Context, q []byte) ([]byte, error) {
			asked++
			return dnsAnswer(t, q, 1), nil
		})
		usable := map[string]bool{"tcp": true}
		r.settings.Usable = func(proto string) bool { return usable[proto] }
		r.send("no query at all", host4, dns4)
		r.wantDrops(dropMalformed)
		r.wantError(-1, 0)
		r.send(dnsQuery(t, 1, "example.com."), host4, dns4) // by TCP, if that is all there is
		if r.wantDrops(); asked != 1 {
			t.Errorf("asked %d times, want once", asked)
		}
		r.host.take()
		clear(usable)
		r.send(dnsQuery(t, 1, "example.com."), host4, dns4)
		r.wantDrops(dropNoUpstream)
		r.wantError(3, 3)
	})
}

// TestWithoutAResolver, DNS is UDP like any other.
func TestWithoutAResolver(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		query := dnsQuery(t, 1, "example.com.")
		r.send(query, host4, dns4)
		r.network.socket(0).want(t, sentTo{query, dns4.String()})
	})
}

func TestQueriesAreBounded(t *testing.T) {
	inDoor(t, func(t *testing.T, r *door) {
		answer := make(chan struct{})
		r.settings.DNS = resolveFunc(func(ctx context.Context, q []byte) ([]byte, error) {
			select {
			case <-answer:
				return dnsAnswer(t, q, 1), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		packet := packetOf(t, dnsQuery(t, 1, "example.com."), host4, dns4)
		for range maxQueries + 5 {
			r.handle(packet)
		}
		if got := r.counters.drops[dropQueue].Swap(0); got != 5 {
			t.Errorf("%d queries dropped, want 5", got)
		}
		close(answer)
		synctest.Wait()
		if got := len(r.host.take()); got != maxQueries {
			t.Errorf("%d answers, want %d", got, maxQueries)
		}
		r.handle(packet)
		synctest.Wait()
		r.wantDrops()
		r.host.take()
	})
}

// TestEndWhileResolving waits for no answer, and gives none.
func TestEndWhileResolving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDoor(t)
		r.settings.DNS = resolveFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, errors.New("ended")
		})
		for i := range uint16(10) {
			r.send(dnsQuery(t, i, "example.com."), netip.AddrPortFrom(host4.Addr(), 1000+i), dns4)
		}
		began := time.Now()
		r.end()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %v, want no wait", took)
		}
		r.send(dnsQuery(t, 1, "example.com."), host4, dns4)
		r.wantError(-1, 0)
		if n := r.asking.Load(); n != 0 {
			t.Errorf("%d queries counted after the end", n)
		}
	})
}
