package dialer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// names is a fake DNS: what each family of any name brings, and what was asked.
type names struct {
	mu     sync.Mutex
	v6, v4 found
	asked  []string // "family host@time since the last reset"
	began  time.Time
}

func (n *names) query(ctx context.Context, network, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	n.asked = append(n.asked, fmt.Sprintf("%s %s@%v", network, host, time.Since(n.began)))
	f := n.v6
	if network == "ip4" {
		f = n.v4
	}
	n.mu.Unlock()
	select {
	case <-time.After(f.after):
		return ips(f.addrs), f.err
	case <-ctx.Done():
		return nil, cutShort(host, ctx.Err())
	}
}

func (n *names) set(v6, v4 found) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.v6, n.v4, n.asked, n.began = v6, v4, nil, time.Now()
}

func (n *names) questions() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.Sort(n.asked)
	return strings.Join(n.asked, ", ")
}

func newResolver(n *names) *resolver {
	r := &resolver{query: n.query, logger: slog.New(slog.DiscardHandler)}
	r.known.max = maxQuestions
	return r
}

// wantAddrs asks r for the addresses of host "h" and checks what comes, when, and what servers were asked.
func (n *names) wantAddrs(t *testing.T, r *resolver, want string, took time.Duration, asked string) {
	t.Helper()
	began := time.Now()
	got, err := r.addrs(t.Context(), "h", netip.Addr{})
	if !slices.Equal(got, ips(want)) || time.Since(began) != took {
		t.Errorf("addrs(h) = %v, %v after %v, want %s after %v", got, err, time.Since(began), want, took)
	}
	if got := n.questions(); got != asked {
		t.Errorf("asked %q, want %q", got, asked)
	}
}

func TestAnswersAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		r := newResolver(n)
		n.set(found{after: 5 * ms, addrs: "::1"}, found{after: 7 * ms, addrs: "1.1.1.1 1.1.1.2"})
		n.wantAddrs(t, r, "::1 1.1.1.1 1.1.1.2", 7*ms, "ip4 h@0s, ip6 h@0s")

		n.set(found{addrs: "::2"}, found{addrs: "2.2.2.2"})
		n.wantAddrs(t, r, "::1 1.1.1.1 1.1.1.2", 0, "")

		time.Sleep(freshFor)
		n.set(found{addrs: "::2"}, found{addrs: "2.2.2.2"})
		n.wantAddrs(t, r, "::2 2.2.2.2", 0, "ip4 h@0s, ip6 h@0s")
	})
}

func TestNotFoundIsRememberedShortly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		r := newResolver(n)
		n.set(found{err: errNotFound}, found{addrs: "1.1.1.1"})
		n.wantAddrs(t, r, "1.1.1.1", 0, "ip4 h@0s, ip6 h@0s")
		n.set(found{addrs: "::1"}, found{})
		n.wantAddrs(t, r, "1.1.1.1", 0, "")
		time.Sleep(notFoundFor)
		n.set(found{addrs: "::1"}, found{})
		n.wantAddrs(t, r, "::1 1.1.1.1", 0, "ip6 h@0s")
	})
}

func TestAFamilyThatIsNeverAnsweredDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		n.set(found{after: ever}, found{after: 10 * ms, addrs: "1.1.1.1"})
		n.wantAddrs(t, newResolver(n), "1.1.1.1", 60*ms, "ip4 h@0s, ip6 h@0s")
	})
}

func TestOlderAnswerServesWhenThereIsNoNewOne(t *testing.T) {
	tests := []struct {
		name string
		now  found
		took time.Duration
	}{
		{"server fails", found{after: 3 * ms, err: errServFail}, 3 * ms},
		{"server is silent", found{after: ever}, stalePatience},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &names{}
				r := newResolver(n)
				n.set(found{err: errNotFound}, found{addrs: "1.1.1.1"})
				n.wantAddrs(t, r, "1.1.1.1", 0, "ip4 h@0s, ip6 h@0s")
				time.Sleep(time.Hour)

				n.set(found{err: errNotFound}, tt.now)
				n.wantAddrs(t, r, "1.1.1.1", tt.took, "ip4 h@0s, ip6 h@0s")
				time.Sleep(notFoundFor - tt.took)
				n.set(found{err: errNotFound}, tt.now)
				n.wantAddrs(t, r, "1.1.1.1", 0, "ip6 h@0s") // nobody asks for ipv4 again so soon

				time.Sleep(staleRetry)
				n.set(found{err: errNotFound}, found{addrs: "2.2.2.2"})
				n.wantAddrs(t, r, "2.2.2.2", 0, "ip4 h@0s, ip6 h@0s")
			})
		})
	}
}

func TestOlderAnswerDoesNotServe(t *testing.T) {
	mark := &MarkError{Mark: 1, Err: errors.New("x")}
	tests := []struct {
		name string
		wait time.Duration
		err  error
	}{
		{"when the name is gone", time.Hour, errNotFound},
		{"when it is too old", freshFor + staleFor + 1, errServFail},
		{"when the mark cannot be applied", time.Hour, mark},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &names{}
				r := newResolver(n)
				n.set(found{addrs: "::1"}, found{addrs: "1.1.1.1"})
				n.wantAddrs(t, r, "::1 1.1.1.1", 0, "ip4 h@0s, ip6 h@0s")
				time.Sleep(tt.wait)
				n.set(found{err: tt.err}, found{err: tt.err})
				if got, err := r.addrs(t.Context(), "h", netip.Addr{}); !errors.Is(err, tt.err) {
					t.Errorf("addrs(h) = %v, %v, want %v", got, err, tt.err)
				}
			})
		})
	}
}

func TestAnswersAreCleaned(t *testing.T) {
	many := make([]netip.Addr, 100)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
	}
	tests := []struct {
		name  string
		addrs []netip.Addr
		err   error
		want  int
		gone  bool
	}{
		{"no more than some", many, nil, maxAddrs, false},
		{"an empty answer", nil, nil, 0, true},
		{"only the other family", nil, &net.AddrError{Err: "no suitable address found", Addr: "h"}, 0, true},
		{"ipv4 inside ipv6", ips("::ffff:1.1.1.1"), nil, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newResolver(&names{})
			r.query = func(context.Context, string, string) ([]netip.Addr, error) { return tt.addrs, tt.err }
			got, err := r.fetch(t.Context(), question{"h", ipv4})
			if len(got) != tt.want || isNotFound(err) != tt.gone {
				t.Errorf("fetch() = %d addresses, %v, want %d, not found %v", len(got), err, tt.want, tt.gone)
			}
			if slices.ContainsFunc(got, netip.Addr.Is4In6) {
				t.Errorf("fetch() = %v, want plain IPv4", got)
			}
		})
	}
}
