package health_test

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// reply is an answer to a query, changed by the edits.
func reply(t *testing.T, query []byte, edits ...func(*dnsmessage.Message)) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Errorf("query %x: %v", query, err)
	}
	m.Response = true
	for _, edit := range edits {
		edit(&m)
	}
	packed, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return packed
}

func TestUDPProbe(t *testing.T) {
	const target = "192.0.2.1:53"
	otherID := func(m *dnsmessage.Message) { m.ID += 100 }
	noResponse := func(m *dnsmessage.Message) { m.Response = false }
	noName := func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }
	for _, tt := range []struct {
		name    string
		answers func(query []byte, n int) [][]byte // to the nth query
		dial    time.Duration
		took    time.Duration
		queries int
		stage   health.Stage
		err     error
	}{
		{
			name:    "passes",
			answers: func(q []byte, _ int) [][]byte { return [][]byte{reply(t, q)} },
			dial:    time.Second, took: time.Second, queries: 1,
		},
		{
			name:    "no such name is an answer",
			answers: func(q []byte, _ int) [][]byte { return [][]byte{reply(t, q, noName)} },
			queries: 1,
		},
		{
			name: "what is no answer is passed over",
			answers: func(q []byte, _ int) [][]byte {
				return [][]byte{nil, {1, 2, 3}, reply(t, q, otherID), reply(t, q, noResponse), reply(t, q)}
			},
			queries: 1,
		},
		{
			name: "another id only",
			answers: func(q []byte, _ int) [][]byte {
				return [][]byte{reply(t, q, otherID)}
			},
			took: 2 * time.Second, queries: 2, stage: health.Quality, err: late,
		},
		{
			name: "the first query is lost",
			answers: func(q []byte, n int) [][]byte {
				if n == 1 {
					return nil
				}
				return [][]byte{reply(t, q)}
			},
			took: time.Second, queries: 2,
		},
		{
			name: "silence", answers: func([]byte, int) [][]byte { return nil },
			dial: time.Second, took: 3 * time.Second, queries: 2,
			stage: health.Quality, err: late,
		},
		{
			name: "a path that does not open", dial: time.Hour,
			took: 3 * time.Second, stage: health.Transport, err: late,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				queries := 0
				n := &fakeNet{dialTime: tt.dial, datagram: func(_ string, q []byte) [][]byte {
					queries++
					return tt.answers(q, queries)
				}}
				probe, err := health.UDPProbe(n, []string{target}, question, limits)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				rtt, err := probe(t.Context())
				if took := time.Since(began); took != tt.took || queries != tt.queries {
					t.Errorf("probe took %v and %d queries, want %v, %d", took, queries, tt.took, tt.queries)
				}
				n.wait(t)
				if tt.err != nil {
					wantStage(t, err, tt.stage, tt.err)
				} else if err != nil || rtt != 0 { // counted from the query that was answered, at once
					t.Errorf("probe = %v, %v, want 0, nil", rtt, err)
				}
			})
		})
	}
}

func TestUDPProbeTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{datagram: func(target string, q []byte) [][]byte {
			if target == "dead.test:53" {
				return nil
			}
			return [][]byte{reply(t, q)}
		}}
		probe, err := health.UDPProbe(n, []string{"dead.test:53", "[2001:db8::1]:53"}, question, limits)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []time.Duration{time.Second, 0} { // half of the time, or the other one's turn
			began := time.Now()
			if _, err := probe(t.Context()); err != nil || time.Since(began) != want {
				t.Errorf("probe = %v after %v, want nil after %v", err, time.Since(began), want)
			}
		}
		const dead, live = "udp dead.test:53", "udp [2001:db8::1]:53"
		want := []string{dead, dead, live, live}
		if !slices.Equal(n.dialled, want) {
			t.Errorf("queries to %q, want %q", n.dialled, want)
		}
		n.wait(t)
	})
}

func TestUDPProbeQuestion(t *testing.T) {
	for _, kind := range []string{"A", "AAAA", "CNAME", "MX", "NS", "SOA", "TXT"} {
		synctest.Test(t, func(t *testing.T) {
			n := &fakeNet{datagram: func(_ string, q []byte) [][]byte {
				var m dnsmessage.Message
				if err := m.Unpack(q); err != nil || len(m.Questions) != 1 || !m.RecursionDesired {
					t.Fatalf("query %x = %+v, %v", q, m, err)
				}
				asked := m.Questions[0]
				if asked.Name.String() != "example.com." || asked.Type.String() != "Type"+kind {
					t.Errorf("question = %v, want example.com. %s", asked, kind)
				}
				return [][]byte{reply(t, q)}
			}}
			for _, name := range []string{"example.com", "example.com."} {
				q := health.Question{Name: name, Type: kind}
				probe, err := health.UDPProbe(n, []string{"192.0.2.1:53"}, q, limits)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := probe(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestUDPProbeRefusesQuestions(t *testing.T) {
	for _, q := range []health.Question{
		{Name: "example.com", Type: "HINFO"},
		{Name: strings.Repeat("a.", 200), Type: "A"},
		{Name: "a..b", Type: "A"},
	} {
		if _, err := health.UDPProbe(new(fakeNet), []string{"192.0.2.1:53"}, q, limits); err == nil {
			t.Errorf("UDPProbe(%v) = nil, want an error", q)
		}
	}
}

// The end of the context interrupts by a deadline, which the second wait for an answer must not undo.
func TestUDPProbeIsCalledOffBetweenQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		queries := 0
		n := &fakeNet{datagram: func(string, []byte) [][]byte {
			if queries++; queries == 2 {
				cancel()
				time.Sleep(ms) // for the interruption
			}
			return nil
		}}
		probe, err := health.UDPProbe(n, []string{"192.0.2.1:53"}, question, limits)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = probe(ctx)
		wantStage(t, err, health.Quality, context.Canceled)
		if took, want := time.Since(began), limits.Exchange/2+ms; took != want {
			t.Errorf("probe took %v, want %v", took, want)
		}
		n.wait(t)
	})
}

// brokenConn cannot be written to.
type brokenConn struct{ *fakePacketConn }

func (brokenConn) WriteTo([]byte, net.Addr) (int, error) { return 0, os.ErrClosed }

// brokenNet opens brokenConns.
type brokenNet struct{ fakeNet }

func (n *brokenNet) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	conn, err := n.fakeNet.ListenPacket(ctx)
	if err != nil {
		return nil, err
	}
	return brokenConn{conn.(*fakePacketConn)}, nil
}

func TestUDPProbeOfABrokenPath(t *testing.T) {
	n := new(brokenNet)
	probe, err := health.UDPProbe(n, []string{"192.0.2.1:53"}, question, limits)
	if err != nil {
		t.Fatal(err)
	}
	_, err = probe(t.Context())
	wantStage(t, err, health.Quality, os.ErrClosed)
	n.wait(t)
}
