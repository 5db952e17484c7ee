package dnsforward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// good answers everything with one address.
func (z *zone) good(_ string, q []byte) [][]byte { return [][]byte{answer(z.t, q, 60, 1)} }

func (z *zone) goodStream(_ string, q []byte) []byte { return answer(z.t, q, 60, 1) }

func TestUDPAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		z.udp = z.good
		f := z.forward(Options{})
		for i, name := range []string{"one.example.", "two.example."} {
			m := ask(t, f, query(t, uint16(i), name, typeA))
			if len(m.Answers) != 1 {
				t.Errorf("answer to %s = %+v, want one address", name, m)
			}
		}
		z.wantAsked("udp one.example.", "udp two.example.")
		if sockets, streams := z.opened(); sockets != 1 || streams != 0 {
			t.Errorf("%d sockets and %d streams, want one socket for all queries", sockets, streams)
		}
		if z.ids[0] == 0 && z.ids[1] == 1 {
			t.Error("ids of clients go to the server")
		}
		z.end(f)
	})
}

func TestNextServer(t *testing.T) {
	tests := []struct {
		name string
		bad  func(z *zone, q []byte) [][]byte
		wait time.Duration
	}{
		{"silent", func(*zone, []byte) [][]byte { return nil }, udpSilence + tcpSilence},
		{"refuses", func(z *zone, q []byte) [][]byte {
			m := response(z.t, q)
			m.RCode = dnsmessage.RCodeRefused
			return [][]byte{pack(z.t, m)}
		}, 0},
		{"fails", func(_ *zone, q []byte) [][]byte { return [][]byte{Failure(q)} }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := &zone{t: t, tcp: func(string, []byte) []byte { return nil }}
				z.udp = func(server string, q []byte) [][]byte {
					if server == serverA.String() {
						return tt.bad(z, q)
					}
					return z.good(server, q)
				}
				f := z.forward(Options{Servers: []netip.AddrPort{serverA, serverB}})
				began := time.Now()
				if m := ask(t, f, query(t, 1, "one.example.", typeA)); len(m.Answers) != 1 {
					t.Errorf("answer = %+v, want the other server's", m)
				}
				if took := time.Since(began); took != tt.wait {
					t.Errorf("took %v, want %v", took, tt.wait)
				}
				z.log()
				ask(t, f, query(t, 1, "two.example.", typeA)) // the one that answered is asked first now
				z.wantAsked("udp two.example.")
				z.end(f)
			})
		})
	}
}

// TestAllServersFail: a failure is an answer, and more telling than none.
func TestAllServersFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t, udp: func(_ string, q []byte) [][]byte { return [][]byte{Failure(q)} }}
		f := z.forward(Options{Servers: []netip.AddrPort{serverA, serverB}})
		for range 2 { // failures are not kept
			if m := ask(t, f, query(t, 1, "one.example.", typeA)); m.RCode != dnsmessage.RCodeServerFailure {
				t.Errorf("answer = %v, want %v", m.RCode, dnsmessage.RCodeServerFailure)
			}
		}
		z.wantAsked(slices.Repeat([]string{"udp one.example."}, 4)...)
		z.fail = errors.New("no upstream")
		z.end(f)

		dead := z.forward(Options{})
		if _, err := dead.Query(t.Context(), query(t, 1, "one.example.", typeA)); err == nil {
			t.Error("Query with neither UDP nor TCP = nil, want an error")
		}
		z.end(dead)
		if _, err := dead.Query(t.Context(), query(t, 1, "one.example.", typeA)); !errors.Is(err, ErrClosed) {
			t.Errorf("Query after Close = %v, want %v", err, ErrClosed)
		}
	})
}

// TestForgedAnswers: neither another source, nor another id or question, is an answer.
func TestForgedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		z.udp = func(_ string, q []byte) [][]byte {
			forged := answer(t, q, 60, 9)
			binary.BigEndian.PutUint16(forged, binary.BigEndian.Uint16(q)+1)
			other := answer(t, query(t, binary.BigEndian.Uint16(q), "evil.example.", typeA), 60, 9)
			kind := answer(t, query(t, binary.BigEndian.Uint16(q), "one.example.", typeAAAA), 60, 9)
			z.sockets[0].in <- packet{answer(t, q, 60, 9), &fakeAddr{"192.0.2.66:53"}}
			return [][]byte{forged, other, kind, q, {}, answer(t, q, 60, 1)}
		}
		f := z.forward(Options{})
		if m := ask(t, f, query(t, 1, "one.example.", typeA)); len(m.Answers) != 1 {
			t.Errorf("%d answers, want that of the server", len(m.Answers))
		}
		z.end(f)
	})
}

type fakeAddr struct{ text string }

func (*fakeAddr) Network() string  { return "udp" }
func (a *fakeAddr) String() string { return a.text }

// TestSameQuestionIsAskedOnce, whoever asks, and each gets the answer under its own id and spelling.
func TestSameQuestionIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t, lag: time.Second}
		z.udp = z.good
		f := z.forward(Options{})
		var asking sync.WaitGroup
		for i := range 50 {
			name := "one.example."
			if i%2 == 0 {
				name = "ONE.exAMPLE."
			}
			asking.Go(func() { ask(t, f, query(t, uint16(i), name, typeA)) })
		}
		asking.Wait()
		if got := z.log(); len(got) != 1 {
			t.Errorf("asked %d times, want once", len(got))
		}
		ask(t, f, query(t, 1, "one.example.", typeA, 4096)) // EDNS makes it another question
		if got := z.log(); len(got) != 1 {
			t.Errorf("asked %d times with EDNS, want once", len(got))
		}
		z.end(f)
	})
}

// TestClientThatLeaves: the others get their answer.
func TestClientThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t, lag: time.Second}
		z.udp = z.good
		f := z.forward(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		asking.Go(func() {
			if _, err := f.Query(ctx, query(t, 1, "one.example.", typeA)); !errors.Is(err, context.Canceled) {
				t.Errorf("Query of who left = %v, want %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		asking.Go(func() { ask(t, f, query(t, 2, "one.example.", typeA)) })
		synctest.Wait()
		cancel()
		asking.Wait()
		z.wantAsked("udp one.example.")
		z.end(f)
	})
}

func TestCacheAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		z.udp = z.good
		f := z.forward(Options{})
		ask(t, f, query(t, 1, "one.example.", typeA))
		time.Sleep(20 * time.Second)
		m := ask(t, f, query(t, 2, "One.Example.", typeA))
		if ttl := m.Answers[0].Header.TTL; ttl != 40 {
			t.Errorf("TTL after 20 of 60 seconds = %d, want 40", ttl)
		}
		z.wantAsked("udp one.example.")
		time.Sleep(40 * time.Second)
		ask(t, f, query(t, 3, "one.example.", typeA))
		z.wantAsked("udp one.example.")
		z.end(f)
	})
}

func TestNoIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unusable := true
		z := &zone{t: t}
		z.udp = z.good
		f := z.forward(Options{NoIPv6: func() bool { return unusable }})
		m := ask(t, f, query(t, 1, "one.example.", typeAAAA, 1232))
		if m.RCode != dnsmessage.RCodeSuccess || len(m.Answers) != 0 || len(m.Additionals) != 1 {
			t.Errorf("answer = %+v, want an empty one with EDNS", m)
		}
		z.wantAsked()
		unusable = false
		ask(t, f, query(t, 1, "one.example.", typeAAAA, 1232))
		z.wantAsked("udp one.example.")
		z.end(f)
	})
}

func TestStrangeQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		f := z.forward(Options{})
		update := query(t, 5, "one.example.", typeA)
		update[2] |= 5 << 3
		a, err := f.Query(t.Context(), update)
		if err != nil || unpack(t, a).RCode != dnsmessage.RCodeNotImplemented || unpack(t, a).ID != 5 {
			t.Errorf("Query(update) = %x, %v, want %v", a, err, dnsmessage.RCodeNotImplemented)
		}
		for _, b := range [][]byte{nil, []byte("hello"), Failure(query(t, 1, "one.example.", typeA))} {
			if _, err := f.Query(t.Context(), b); !errors.Is(err, ErrMalformed) {
				t.Errorf("Query(%x) = %v, want %v", b, err, ErrMalformed)
			}
		}
		z.wantAsked()
		none, q := New(Options{Stream: z}), query(t, 1, "one.example.", typeA)
		if _, err := none.Query(t.Context(), q); !errors.Is(err, errNoServers) {
			t.Errorf("Query without servers = %v, want %v", err, errNoServers)
		}
		z.end(none)
		z.end(f)
	})
}

func TestBoundedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t, lag: time.Second}
		z.udp = z.good
		f := z.forward(Options{})
		var asking sync.WaitGroup
		for i := range maxCalls {
			asking.Go(func() { ask(t, f, query(t, 1, fmt.Sprintf("n%d.example.", i), typeA)) })
		}
		synctest.Wait()
		if _, err := f.Query(t.Context(), query(t, 1, "more.example.", typeA)); !errors.Is(err, ErrBusy) {
			t.Errorf("query %d at once = %v, want %v", maxCalls+1, err, ErrBusy)
		}
		ask2 := query(t, 1, "n0.example.", typeA)
		asking.Go(func() { ask(t, f, ask2) }) // one that is under way has room
		asking.Wait()
		ask(t, f, query(t, 1, "more.example.", typeA))
		z.end(f)
	})
}

// TestNothingStaysOpen: connections are closed when there are no queries for a while.
func TestNothingStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		z.tcp = z.goodStream
		f := z.forward(Options{})
		ask(t, f, query(t, 1, "one.example.", typeA))
		for i := range 4 { // work keeps them open
			time.Sleep(idleTimeout / 2)
			ask(t, f, query(t, 1, fmt.Sprintf("n%d.example.", i), typeA))
		}
		if _, streams := z.opened(); streams != 1 {
			t.Errorf("%d streams, want 1", streams)
		}
		time.Sleep(2 * idleTimeout)
		f.running.Wait() // without Close
		z.serving.Wait()
		z.end(f)
	})
}

func TestCloseWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lag := range []time.Duration{0, time.Hour} { // while waiting, while dialling
			z := &zone{t: t, lag: lag, tcp: func(string, []byte) []byte { return nil }}
			f := z.forward(Options{})
			var asking sync.WaitGroup
			for i := range 10 {
				asking.Go(func() {
					q := query(t, 1, strings.Repeat("x", i+1)+".example.", typeA)
					if _, err := f.Query(t.Context(), q); err == nil {
						t.Error("Query while closing = nil, want an error")
					}
				})
			}
			synctest.Wait()
			began := time.Now()
			z.end(f)
			asking.Wait()
			if took := time.Since(began); took != 0 {
				t.Errorf("Close took %v, want no wait", took)
			}
		}
	})
}
