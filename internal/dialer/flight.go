package dialer

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

type fetchFunc func(ctx context.Context) ([]netip.Addr, error)

// flights lets callers that ask the same question at the same time share one lookup. The lookup does not end
// with the context of the caller that came first; it ends with the last one that waits for it, who sees it
// out. (singleflight of x/sync has no such end: its lookups run on after everybody left.)
type flights struct {
	mu   sync.Mutex
	open map[question]*flight
}

type flight struct {
	waiting int  // guarded by flights.mu
	void    bool // whoever waits begins another one; guarded by flights.mu
	cancel  context.CancelFunc
	done    chan struct{} // closed when addrs and err are set
	addrs   []netip.Addr
	err     error
}

// do returns what fetch does. fetch runs under a context of its own, for at most lookupTimeout.
func (s *flights) do(ctx context.Context, q question, fetch fetchFunc) ([]netip.Addr, error) {
	for {
		f := s.join(ctx, q, fetch)
		select {
		case <-f.done:
			s.leave(q, f)
			if f.err != nil && s.isVoid(f) {
				continue
			}
			return f.addrs, f.err
		case <-ctx.Done():
			if s.leave(q, f) == 0 {
				<-f.done
			}
			return nil, cutShort(q.host, ctx.Err())
		}
	}
}

// renew begins all lookups anew that are under way.
func (s *flights) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.open {
		f.void = true
		f.cancel()
	}
	clear(s.open)
}

func (s *flights) isVoid(f *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.void
}

func (s *flights) join(ctx context.Context, q question, fetch fetchFunc) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.open[q]; ok {
		f.waiting++
		return f
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
	f := &flight{waiting: 1, cancel: cancel, done: make(chan struct{})}
	if s.open == nil {
		s.open = make(map[question]*flight)
	}
	s.open[q] = f
	go func() {
		defer close(f.done)
		f.addrs, f.err = fetch(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.remove(q, f)
	}()
	return f
}

// leave returns how many callers still wait. The last one cancels the flight.
func (s *flights) leave(q question, f *flight) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.waiting--
	if f.waiting == 0 {
		s.remove(q, f)
		f.cancel()
	}
	return f.waiting
}

// remove lets the next caller begin a new flight. The mutex is held.
func (s *flights) remove(q question, f *flight) {
	if s.open[q] == f {
		delete(s.open, q)
	}
}

// cutShort is the error of a lookup whose caller's context ended, in the form that package net gives it.
func cutShort(host string, err error) error {
	dns := &net.DNSError{Err: err.Error(), Name: host, UnwrapErr: err}
	if err == context.DeadlineExceeded { //nolint:errorlint // a context returns it bare
		dns.Err, dns.IsTimeout = "i/o timeout", true
	}
	return dns
}
