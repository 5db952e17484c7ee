package dnsforward

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTruncatedGoesByTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		z.udp = func(_ string, q []byte) [][]byte {
			m := response(t, q)
			m.Truncated = true
			return [][]byte{pack(t, m)}
		}
		z.tcp = func(_ string, q []byte) []byte { return answer(t, q, 60, 200) }
		f := z.forward(Options{})
		began := time.Now()
		if m := ask(t, f, query(t, 7, "large.example.", typeA, 4096)); len(m.Answers) != 200 || m.Truncated {
			t.Errorf("%d answers, truncated %v, want 200", len(m.Answers), m.Truncated)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v, want no wait", took)
		}
		z.wantAsked("udp large.example.", "tcp large.example.")

		// Without TCP, a truncated answer is better than none.
		z.tcp = func(string, []byte) []byte { return nil }
		if m := ask(t, f, query(t, 8, "other.example.", typeA)); !m.Truncated {
			t.Errorf("answer = %+v, want the truncated one", m)
		}
		z.end(f)
	})
}

// TestSilentUDP: after two seconds TCP has its turn, and is used at once until UDP may work again.
func TestSilentUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		z.tcp = z.goodStream
		f := z.forward(Options{})
		took := func(name string) time.Duration {
			began := time.Now()
			ask(t, f, query(t, 1, name, typeA))
			return time.Since(began)
		}
		if got := took("one.example."); got != udpSilence {
			t.Errorf("the first query took %v, want %v", got, udpSilence)
		}
		if got := took("two.example."); got != 0 {
			t.Errorf("the next query took %v, want no wait", got)
		}
		z.wantAsked("udp one.example.", "tcp one.example.", "tcp two.example.")
		time.Sleep(udpPause)
		z.udp = z.good
		if got := took("three.example."); got != 0 {
			t.Errorf("a query after the pause took %v, want no wait", got)
		}
		z.wantAsked("udp three.example.")
		z.end(f)
	})
}

// TestOneLostDatagram does not make UDP suspect while it answers others.
func TestOneLostDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		z.tcp = z.goodStream
		z.udp = func(server string, q []byte) [][]byte {
			if unpack(t, q).Questions[0].Name.String() == "lost.example." {
				return nil
			}
			return z.good(server, q)
		}
		f := z.forward(Options{})
		var lost sync.WaitGroup
		lost.Go(func() { ask(t, f, query(t, 1, "lost.example.", typeA)) })
		time.Sleep(time.Second)
		ask(t, f, query(t, 2, "fine.example.", typeA))
		lost.Wait()
		ask(t, f, query(t, 3, "next.example.", typeA))
		z.wantAsked("udp lost.example.", "udp fine.example.", "tcp lost.example.", "udp next.example.")
		z.end(f)
	})
}

func TestNoUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t, fail: errors.New("no upstream carries UDP")}
		z.tcp = z.goodStream
		f := z.forward(Options{})
		began := time.Now()
		ask(t, f, query(t, 1, "one.example.", typeA))
		ask(t, f, query(t, 1, "two.example.", typeA))
		z.wantAsked("tcp one.example.", "tcp two.example.")
		if _, streams := z.opened(); time.Since(began) != 0 || streams != 1 {
			t.Errorf("took %v and %d streams, want no wait and one stream", time.Since(began), streams)
		}
		z.end(f)
	})
}

func TestTCPAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		z.tcp = z.goodStream
		f := New(Options{Stream: z, Servers: []netip.AddrPort{serverB}})
		ask(t, f, query(t, 1, "one.example.", typeA))
		z.wantAsked("tcp one.example.")
		z.end(f)
	})
}

// TestStreamThatEnded: servers close idle streams whenever they like.
func TestStreamThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t}
		z.tcp = z.goodStream
		f := New(Options{Stream: z, Servers: []netip.AddrPort{serverA}})
		ask(t, f, query(t, 1, "one.example.", typeA))
		z.streams[0].Close()
		synctest.Wait()
		ask(t, f, query(t, 1, "two.example.", typeA))

		// One that ends under a query is replaced once.
		ends := 0
		z.tcp = func(server string, q []byte) []byte {
			if ends++; ends == 1 {
				z.streams[len(z.streams)-1].Close()
				return nil
			}
			return z.goodStream(server, q)
		}
		ask(t, f, query(t, 1, "three.example.", typeA))
		z.wantAsked("tcp one.example.", "tcp two.example.", "tcp three.example.", "tcp three.example.")
		z.end(f)
	})
}

// TestDeadStream: one on which nothing comes any more is not used for the next query.
func TestDeadStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{t: t, tcp: func(string, []byte) []byte { return nil }}
		f := New(Options{Stream: z, Servers: []netip.AddrPort{serverA}})
		if _, err := f.Query(t.Context(), query(t, 1, "one.example.", typeA)); !errors.Is(err, errSilent) {
			t.Errorf("Query = %v, want %v", err, errSilent)
		}
		synctest.Wait()
		z.tcp = z.goodStream
		ask(t, f, query(t, 1, "two.example.", typeA))
		if _, streams := z.opened(); streams != 2 {
			t.Errorf("%d streams, want a second one", streams)
		}
		z.end(f)
	})
}
