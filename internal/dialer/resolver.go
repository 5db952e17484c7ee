package dialer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

const (
	// maxNames bounds what is remembered of names; a question is a name in one family.
	maxNames     = 256
	maxQuestions = 2 * maxNames
	// maxAddrs bounds what one answer may make us try.
	maxAddrs = 16

	// lookupTimeout ends a lookup. Package net gives each server 5 s.
	lookupTimeout = 10 * time.Second
	// freshFor is how long an answer is used without asking again. Package net does not tell the TTL.
	freshFor = time.Minute
	// notFoundFor is the same for "no such host", shorter because hosts appear.
	notFoundFor = 10 * time.Second
	// staleFor is how long an answer serves when no new one is to be had (RFC 8767, section 5).
	staleFor = 24 * time.Hour
	// stalePatience is how long a lookup may take before an older answer is used in its place.
	stalePatience = 2 * time.Second
	// staleRetry is how long after that nobody asks again.
	staleRetry = 10 * time.Second
)

// question is what is looked up at once.
type question struct {
	host   string
	family family
}

// record is a remembered answer: addresses, or the error that says there are none.
type record struct {
	addrs []netip.Addr
	err   error // "no such host"
	fresh time.Time
	stale time.Time // end of use after fresh
}

// resolver looks names up and remembers the answers.
type resolver struct {
	// query is net.Resolver.LookupNetIP or the like.
	query  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	logger *slog.Logger

	known   table[question, record]
	flights flights
}

// ask looks up both families of host at once. Two answers follow, soon when ctx ends.
func (r *resolver) ask(ctx context.Context, host string) <-chan answer {
	answers := make(chan answer, 2)
	now := time.Now()
	for _, f := range []family{ipv6, ipv4} {
		q := question{host, f}
		if rec, ok := r.known.load(q); ok && now.Before(rec.fresh) {
			answers <- answer{f, rec.addrs, rec.err}
			continue
		}
		go func() { // who receives both answers has waited for it
			addrs, err := r.lookup(ctx, q)
			answers <- answer{f, addrs, err}
		}()
	}
	return answers
}

// lookup asks, and falls back on an older answer when there is none in time.
func (r *resolver) lookup(ctx context.Context, q question) ([]netip.Addr, error) {
	fetch := func(ctx context.Context) ([]netip.Addr, error) { return r.fetch(ctx, q) }
	rec, ok := r.known.load(q)
	if !ok || rec.err != nil || time.Now().After(rec.stale) {
		return r.flights.do(ctx, q, fetch)
	}
	patient, cancel := context.WithTimeout(ctx, stalePatience)
	defer cancel()
	addrs, err := r.flights.do(patient, q, fetch)
	if err == nil || isNotFound(err) || isMark(err) || isNoNetwork(err) || ctx.Err() != nil {
		return addrs, err
	}
	r.logger.WarnContext(ctx, "older dns answer used", "target", q.host, "err", err)
	rec.fresh = time.Now().Add(staleRetry)
	r.known.store(q, rec)
	return rec.addrs, nil
}

// fetch asks the servers and remembers what they say.
func (r *resolver) fetch(ctx context.Context, q question) ([]netip.Addr, error) {
	found, err := r.query(ctx, q.family.network(), q.host)
	if _, ok := errors.AsType[*net.AddrError](err); ok || err == nil && len(found) == 0 {
		// A hosts file with addresses of the other family alone.
		err = &net.DNSError{Err: "no such host", Name: q.host, IsNotFound: true}
	}
	now := time.Now()
	if isNotFound(err) {
		r.known.store(q, record{err: err, fresh: now.Add(notFoundFor)})
	}
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(found))
	for _, a := range found[:min(len(found), maxAddrs)] {
		addrs = append(addrs, a.Unmap())
	}
	r.known.store(q, record{addrs: addrs, fresh: now.Add(freshFor), stale: now.Add(staleFor)})
	return addrs, nil
}

// remembered are the addresses that host had when it was last looked up, however long ago.
func (r *resolver) remembered(host string) (addrs []netip.Addr) {
	for _, f := range []family{ipv6, ipv4} {
		if rec, ok := r.known.load(question{host, f}); ok {
			addrs = append(addrs, rec.addrs...)
		}
	}
	return addrs
}

// renew forgets what another network may know better, and asks again what was not answered yet. Addresses
// stay: they are asked for again when they are not fresh any more.
func (r *resolver) renew() {
	r.known.drop(func(rec record) bool { return rec.err != nil })
	r.flights.renew()
}

// addrs returns the addresses of host in the order to try them. IPv6 ones are given resolutionDelay after the
// IPv4 ones are known, so that a server that never answers for IPv6 delays nobody.
func (r *resolver) addrs(ctx context.Context, host string, good netip.Addr) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	q, answers := newQueue(good), r.ask(ctx, host)
	for range 2 {
		a := <-answers
		q.add(a.family, a.addrs)
		err = graver(err, a.err)
		if a.family == ipv4 && len(a.addrs) > 0 {
			defer time.AfterFunc(resolutionDelay, cancel).Stop()
		}
	}
	if addrs := q.all(); len(addrs) > 0 {
		return addrs, nil
	}
	return nil, err
}
