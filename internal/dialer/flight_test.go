package dialer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCallersShareALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		n.set(found{}, found{after: time.Second, addrs: "1.1.1.1"})
		r := newResolver(n)
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() {
				if got, err := r.lookup(t.Context(), question{"h", ipv4}); len(got) != 1 || err != nil {
					t.Errorf("lookup = %v, %v, want one address", got, err)
				}
			})
		}
		callers.Wait()
		if got := n.questions(); got != "ip4 h@0s" {
			t.Errorf("asked %q, want once", got)
		}
		if len(r.flights.open) != 0 {
			t.Errorf("flights left = %d, want 0", len(r.flights.open))
		}
	})
}

// The first caller gives up; the lookup that it began goes on for the others.
func TestFirstCallerDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		n.set(found{}, found{after: time.Second, addrs: "1.1.1.1"})
		r := newResolver(n)
		first, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() {
			_, err := r.lookup(first, question{"h", ipv4})
			dns, ok := errors.AsType[*net.DNSError](err)
			if !ok || dns.Name != "h" || !errors.Is(err, context.Canceled) {
				t.Errorf("lookup of who gave up = %v, want a DNS error that is %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		callers.Go(func() {
			if got, err := r.lookup(t.Context(), question{"h", ipv4}); len(got) != 1 || err != nil {
				t.Errorf("lookup of who stays = %v, %v, want one address", got, err)
			}
		})
		synctest.Wait()
		cancel()
		callers.Wait()
	})
}

// When nobody waits any more, the lookup is cancelled and its end awaited.
func TestLastCallerEndsTheLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s flights
		ended := false
		fetch := func(ctx context.Context) ([]netip.Addr, error) {
			<-ctx.Done()
			time.Sleep(3 * ms) // what it takes to clean up
			ended = true
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.do(ctx, question{"h", ipv6}, fetch)
		dns, ok := errors.AsType[*net.DNSError](err)
		if !ok || !dns.IsTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("do = %v, want a DNS timeout that is %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(began); took != time.Second+3*ms || !ended {
			t.Errorf("do returned after %v, lookup ended %v, want after 1.003s and ended", took, ended)
		}
	})
}

func TestALookupIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		n.set(found{}, found{after: ever})
		began := time.Now()
		_, err := newResolver(n).lookup(t.Context(), question{"h", ipv4})
		if took := time.Since(began); took != lookupTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("lookup = %v after %v, want a timeout after %v", err, took, lookupTimeout)
		}
	})
}

// A lookup that a change of the network found under way is begun anew, for all who wait.
func TestRenewBeginsLookupsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		n.set(found{}, found{after: ever})
		r := newResolver(n)
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				if got, err := r.lookup(t.Context(), question{"h", ipv4}); len(got) != 1 || err != nil {
					t.Errorf("lookup = %v, %v, want one address", got, err)
				}
			})
		}
		time.Sleep(time.Second)
		n.set(found{}, found{after: ms, addrs: "1.1.1.1"})
		r.renew()
		callers.Wait()
		if got := n.questions(); got != "ip4 h@0s" {
			t.Errorf("asked %q after the change, want once", got)
		}
	})
}

func TestRenewForgetsWhatDidNotExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		n.set(found{}, found{addrs: "1.1.1.1"})
		r := newResolver(n)
		n.wantAddrs(t, r, "1.1.1.1", 0, "ip4 h@0s, ip6 h@0s")
		r.known.store(question{"gone", ipv4}, record{
			err: &net.DNSError{IsNotFound: true}, fresh: time.Now().Add(time.Hour),
		})
		r.renew()
		if _, ok := r.known.load(question{"gone", ipv4}); ok {
			t.Error("a host that did not exist is remembered")
		}
		if got := r.remembered("h"); len(got) != 1 {
			t.Errorf("remembered addresses = %v, want one", got)
		}
	})
}
