package dialer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// host is a fake address: after some time it accepts, or fails with err.
type host struct {
	after time.Duration
	err   error
}

const ever = 365 * 24 * time.Hour

// network is a fake internet in which to race. Addresses that are not in it swallow everything.
type network struct {
	hosts map[string]host
	began time.Time
	stuck bool // hosts do not listen to cancellation

	mu     sync.Mutex
	starts []string // "address@time since began"
	open   []*transporttest.PipeConn
}

func (n *network) connect(ctx context.Context, addr netip.AddrPort) (transport.StreamConn, error) {
	n.mu.Lock()
	n.starts = append(n.starts, fmt.Sprintf("%s@%v", addr.Addr(), time.Since(n.began)))
	n.mu.Unlock()
	h, ok := n.hosts[addr.Addr().String()]
	if !ok {
		h.after = ever
	}
	if n.stuck {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-time.After(h.after):
	case <-ctx.Done():
		return nil, opError(ctx.Err())
	}
	if h.err != nil {
		return nil, opError(h.err)
	}
	conn, far := transporttest.Pipe()
	n.mu.Lock()
	n.open = append(n.open, far)
	n.mu.Unlock()
	return conn, nil
}

// stillOpen counts the connections that were not closed.
func (n *network) stillOpen() int {
	open := 0
	for _, far := range n.open {
		if _, err := far.Write([]byte{0}); err == nil {
			open++
		}
	}
	return open
}

// found is a fake answer, after some time.
type found struct {
	after time.Duration
	addrs string
	err   error
}

// lookup returns the lookups of both families; like the real ones they end with ctx.
func lookup(v6, v4 found) func(context.Context) <-chan answer {
	return func(ctx context.Context) <-chan answer {
		answers := make(chan answer, 2)
		for f, a := range map[family]found{ipv6: v6, ipv4: v4} {
			go func() {
				select {
				case <-time.After(a.after):
					answers <- answer{f, ips(a.addrs), a.err}
				case <-ctx.Done():
					answers <- answer{f, nil, cutShort("host", ctx.Err())}
				}
			}()
		}
		return answers
	}
}

const ms = time.Millisecond

var (
	errNotFound = &net.DNSError{Err: "no such host", Name: "host", IsNotFound: true}
	errServFail = &net.DNSError{Err: "server misbehaving", Name: "host", IsTemporary: true}
)

func TestRace(t *testing.T) {
	refused := host{err: syscall.ECONNREFUSED}
	lateRefusal := host{after: 30 * ms, err: syscall.ECONNREFUSED}
	tests := []struct {
		name   string
		v6, v4 found
		good   string
		hosts  map[string]host
		want   string        // winner
		took   time.Duration // until it was there
		starts string
	}{
		{
			name: "ipv6 works", v6: found{addrs: "::1"}, v4: found{addrs: "1.1.1.1"},
			hosts: map[string]host{"::1": {after: 100 * ms}, "1.1.1.1": {}},
			want:  "::1", took: 100 * ms, starts: "::1@0s",
		},
		{
			name: "ipv6 is a black hole", v6: found{addrs: "::1 ::2"}, v4: found{addrs: "1.1.1.1"},
			hosts: map[string]host{"1.1.1.1": {after: 20 * ms}},
			want:  "1.1.1.1", took: 270 * ms, starts: "::1@0s 1.1.1.1@250ms",
		},
		{
			name: "ipv6 is a black hole and was one last time",
			v6:   found{addrs: "::1"}, v4: found{addrs: "1.1.1.1"},
			good: "1.1.1.1", hosts: map[string]host{"1.1.1.1": {after: 20 * ms}},
			want: "1.1.1.1", took: 20 * ms, starts: "1.1.1.1@0s",
		},
		{
			name: "the good one is dead now", v6: found{addrs: "::1"}, v4: found{addrs: "1.1.1.1"},
			good: "1.1.1.1", hosts: map[string]host{"::1": {}},
			want: "::1", took: 250 * ms, starts: "1.1.1.1@0s ::1@250ms",
		},
		{
			name: "refused, the next starts at once", v6: found{addrs: "::1"}, v4: found{addrs: "1.1.1.1"},
			hosts: map[string]host{"::1": lateRefusal, "1.1.1.1": {after: 5 * ms}},
			want:  "1.1.1.1", took: 35 * ms, starts: "::1@0s 1.1.1.1@30ms",
		},
		{
			name: "the slow first one still wins", v6: found{addrs: "::1"}, v4: found{addrs: "1.1.1.1"},
			hosts: map[string]host{"::1": {after: 300 * ms}, "1.1.1.1": {after: 100 * ms}},
			want:  "::1", took: 300 * ms, starts: "::1@0s 1.1.1.1@250ms",
		},
		{
			name: "many dead ones", v6: found{addrs: "::1 ::2"}, v4: found{addrs: "1.1.1.1 1.1.1.2"},
			hosts: map[string]host{"1.1.1.2": {}},
			want:  "1.1.1.2", took: 750 * ms, starts: "::1@0s 1.1.1.1@250ms ::2@500ms 1.1.1.2@750ms",
		},
		{
			name: "ipv4 is known first and waits a little", v6: found{after: 30 * ms, addrs: "::1"},
			v4: found{addrs: "1.1.1.1"}, hosts: map[string]host{"::1": {}, "1.1.1.1": {}},
			want: "::1", took: 30 * ms, starts: "::1@30ms",
		},
		{
			name: "ipv4 waits 50 ms and no longer", v6: found{after: ever}, v4: found{addrs: "1.1.1.1"},
			hosts: map[string]host{"1.1.1.1": {after: ms}},
			want:  "1.1.1.1", took: 51 * ms, starts: "1.1.1.1@50ms",
		},
		{
			name: "ipv4 does not wait when it was good", v6: found{after: ever}, v4: found{addrs: "1.1.1.1"},
			good: "1.1.1.1", hosts: map[string]host{"1.1.1.1": {}},
			want: "1.1.1.1", took: 0, starts: "1.1.1.1@0s",
		},
		{
			name: "ipv4 does not wait for what is not there", v6: found{after: 10 * ms, err: errNotFound},
			v4: found{addrs: "1.1.1.1"}, hosts: map[string]host{"1.1.1.1": {}},
			want: "1.1.1.1", took: 10 * ms, starts: "1.1.1.1@10ms",
		},
		{
			name: "ipv6 does not wait for ipv4", v6: found{addrs: "::1"}, v4: found{after: ever},
			hosts: map[string]host{"::1": {after: 40 * ms}},
			want:  "::1", took: 40 * ms, starts: "::1@0s",
		},
		{
			name: "ipv6 comes late and is still tried", v6: found{after: 100 * ms, addrs: "::1"},
			v4: found{addrs: "1.1.1.1 1.1.1.2"}, hosts: map[string]host{"::1": {}},
			want: "::1", took: 300 * ms, starts: "1.1.1.1@50ms ::1@300ms",
		},
		{
			name: "all failed, then more addresses come", v6: found{after: 400 * ms, addrs: "::1"},
			v4: found{addrs: "1.1.1.1"}, hosts: map[string]host{"::1": {}, "1.1.1.1": refused},
			want: "::1", took: 400 * ms, starts: "1.1.1.1@50ms ::1@400ms",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{hosts: tt.hosts, began: time.Now()}
				r := newRace(n.connect, 443, anyAddr(tt.good))
				conn, ip := r.run(t.Context(), 2, lookup(tt.v6, tt.v4))
				took := time.Since(n.began)
				if conn == nil || ip.String() != tt.want || took != tt.took {
					t.Errorf("race won by %v after %v, want %s after %v", ip, took, tt.want, tt.took)
				}
				if got := strings.Join(n.starts, " "); got != tt.starts {
					t.Errorf("attempts %s, want %s", got, tt.starts)
				}
				if open := n.stillOpen(); open != 1 {
					t.Errorf("connections left open = %d, want 1", open)
				}
			})
		})
	}
}

func anyAddr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

func TestRaceWithoutWinner(t *testing.T) {
	refused := host{err: syscall.ECONNREFUSED}
	tests := []struct {
		name   string
		v6, v4 found
		limit  time.Duration
		hosts  map[string]host
		want   string
		is     error
		took   time.Duration
	}{
		{
			name: "all refuse", v6: found{addrs: "::1"}, v4: found{addrs: "1.1.1.1"}, limit: ever,
			hosts: map[string]host{"::1": refused, "1.1.1.1": {after: 2 * ms, err: syscall.EHOSTUNREACH}},
			want:  "connect h:1: [::1]:443: connection refused; 1.1.1.1:443: no route to host",
			is:    syscall.EHOSTUNREACH, took: 2 * ms,
		},
		{
			name: "no such host", v6: found{err: errNotFound}, v4: found{err: errNotFound}, limit: ever,
			want: "connect h:1: lookup host: no such host", is: errNotFound,
		},
		{
			name: "no such host in one family, no answer in the other",
			v6:   found{err: errNotFound}, v4: found{after: ms, err: errServFail}, limit: ever,
			want: "connect h:1: lookup host: server misbehaving", is: errServFail, took: ms,
		},
		{
			name: "a family that is not there is no fault",
			v6:   found{err: errNotFound}, v4: found{addrs: "1.1.1.1"}, limit: ever,
			hosts: map[string]host{"1.1.1.1": refused},
			want:  "connect h:1: 1.1.1.1:443: connection refused", is: syscall.ECONNREFUSED,
		},
		{
			name: "a family that could not be looked up is told",
			v6:   found{err: errServFail}, v4: found{addrs: "1.1.1.1"}, limit: ever,
			hosts: map[string]host{"1.1.1.1": refused},
			want:  "connect h:1: 1.1.1.1:443: connection refused; lookup host: server misbehaving",
			is:    syscall.ECONNREFUSED,
		},
		{
			name: "time is up during lookups",
			v6:   found{after: ever}, v4: found{after: ever}, limit: time.Second,
			want: "connect h:1: lookup host: i/o timeout", is: context.DeadlineExceeded, took: time.Second,
		},
		{
			name: "time is up during attempts",
			v6:   found{addrs: "::1"}, v4: found{err: errNotFound}, limit: time.Second,
			want: "connect h:1: [::1]:443: context deadline exceeded",
			is:   context.DeadlineExceeded, took: time.Second,
		},
		{
			name: "a mark that cannot be applied ends it",
			v6:   found{addrs: "::1 ::2"}, v4: found{addrs: "1.1.1.1"}, limit: ever,
			hosts: map[string]host{"::1": {err: &MarkError{7, syscall.EBADF}}},
			want:  "connect h:1: apply fwmark 7: bad file descriptor", is: syscall.EBADF,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{hosts: tt.hosts, began: time.Now()}
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				r := newRace(n.connect, 443, netip.Addr{})
				conn, _ := r.run(ctx, 2, lookup(tt.v6, tt.v4))
				if conn != nil {
					t.Fatal("race has a winner, want none")
				}
				err := r.explain(ctx, "h:1")
				if err.Error() != tt.want || !errors.Is(err, tt.is) {
					t.Errorf("error = %q, want %q and errors.Is %v", err, tt.want, tt.is)
				}
				if took := time.Since(n.began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

// Two attempts succeed, or one does after nobody wants it: what is not returned is closed.
func TestRaceClosesWhatCameTooLate(t *testing.T) {
	slow := host{after: 900 * ms}
	tests := []struct {
		name  string
		limit time.Duration
		hosts map[string]host
		want  int
	}{
		{"second winner", ever, map[string]host{"::1": slow, "1.1.1.1": {after: 100 * ms}}, 1},
		{"winner after the end", 500 * ms, map[string]host{"::1": slow, "1.1.1.1": slow}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{hosts: tt.hosts, began: time.Now(), stuck: true}
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				r := newRace(n.connect, 443, netip.Addr{})
				conn, _ := r.run(ctx, 2, lookup(found{addrs: "::1"}, found{addrs: "1.1.1.1"}))
				if got := len(n.open); got != 2 {
					t.Errorf("connected = %d, want 2", got)
				}
				if open := n.stillOpen(); open != tt.want || (conn != nil) != (tt.want == 1) {
					t.Errorf("connections left open = %d, winner %v, want %d", open, conn, tt.want)
				}
				if conn == nil && !errors.Is(r.explain(ctx, "h:1"), context.DeadlineExceeded) {
					t.Errorf("error = %v, want %v", r.explain(ctx, "h:1"), context.DeadlineExceeded)
				}
			})
		})
	}
}

func TestRaceOfALiteral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{hosts: map[string]host{"1.1.1.1": {}}, began: time.Now()}
		lone := target{ip: netip.MustParseAddr("1.1.1.1")}
		conn, ip := newRace(n.connect, 443, netip.Addr{}).run(t.Context(), 1, lone.literal)
		if conn == nil || ip != lone.ip || !slices.Equal(n.starts, []string{"1.1.1.1@0s"}) {
			t.Errorf("race = %v, %v with attempts %v, want %v at once", conn, ip, n.starts, lone.ip)
		}
	})
}
