package dialer

import (
	"context"
	"net/netip"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	// connectDelay is how long an attempt may run before the next one starts beside it ("Connection Attempt
	// Delay", RFC 8305, section 5).
	connectDelay = 250 * time.Millisecond
	// resolutionDelay is how long addresses of the second family wait for those of the first (section 3).
	resolutionDelay = 50 * time.Millisecond
)

type connectFunc func(ctx context.Context, addr netip.AddrPort) (transport.StreamConn, error)

// answer is what a lookup in one family brought: addresses or an error.
type answer struct {
	family family
	addrs  []netip.Addr
	err    error
}

// race connects to the first of several addresses that answers, while more of them may still be looked up. It
// is used once, by one goroutine.
type race struct {
	connect connectFunc
	port    uint16

	queue     queue
	unknown   int   // answers still to come
	lookupErr error // of the lookups so far, the gravest

	attempts []Attempt // in the order of their start; Err is nil while one runs
	running  int
	results  chan result // every attempt sends once

	held  bool        // nothing starts before the timer fires or there is news
	timer *time.Timer // ends held
}

// result is the end of an attempt.
type result struct {
	attempt int
	conn    transport.StreamConn
	err     error
}

func newRace(connect connectFunc, port uint16, good netip.Addr) *race {
	timer := time.NewTimer(connectDelay)
	timer.Stop()
	return &race{
		connect: connect, port: port, queue: newQueue(good),
		results: make(chan result), held: true, timer: timer,
	}
}

// run returns the winner and its address. lookup must send the given number of answers, and soon when its
// context ends. Nothing runs any more when run returns. Without a winner, attempts and lookupErr say why.
func (r *race) run(
	ctx context.Context, families int, lookup func(context.Context) <-chan answer,
) (transport.StreamConn, netip.Addr) {
	ctx, cancel := context.WithCancel(ctx)
	defer r.timer.Stop()
	r.unknown = families
	answers := lookup(ctx)
	won := r.loop(ctx, answers)
	cancel()
	r.settle(answers)
	if won.conn == nil {
		return nil, netip.Addr{}
	}
	return won.conn, r.attempts[won.attempt].Addr.Addr()
}

// loop starts attempts until one succeeds, or none can any more.
func (r *race) loop(ctx context.Context, answers <-chan answer) result {
	for {
		if addr, ok := r.next(); ok {
			r.start(ctx, addr)
		}
		if r.running == 0 && r.unknown == 0 {
			return result{}
		}
		select {
		case a := <-answers:
			r.learn(a)
		case res := <-r.results:
			if r.finish(res); res.err == nil || isMark(res.err) {
				return res
			}
			r.held = false
		case <-r.timer.C:
			r.held = false
		case <-ctx.Done():
			return result{}
		}
	}
}

// next returns the address to try now, if there is one.
func (r *race) next() (netip.Addr, bool) {
	idle := len(r.attempts) > 0 && r.running == 0
	if r.held && !idle {
		return netip.Addr{}, false
	}
	return r.queue.next()
}

func (r *race) start(ctx context.Context, ip netip.Addr) {
	addr, i := netip.AddrPortFrom(ip, r.port), len(r.attempts)
	r.attempts = append(r.attempts, Attempt{Addr: addr})
	r.running++
	r.held = true
	r.timer.Reset(connectDelay)
	go func() { // settle waits for it
		conn, err := r.connect(ctx, addr)
		r.results <- result{i, conn, err}
	}()
}

// learn takes an answer in. The first attempt waits for the family that goes first, but not long.
func (r *race) learn(a answer) {
	r.unknown--
	r.lookupErr = graver(r.lookupErr, a.err)
	r.queue.add(a.family, a.addrs)
	switch {
	case len(r.attempts) > 0:
	case r.unknown == 0, a.family == r.queue.turn:
		r.held = false
	case len(a.addrs) > 0:
		r.timer.Reset(resolutionDelay)
	}
}

func (r *race) finish(res result) {
	r.running--
	r.attempts[res.attempt].Err = res.err
}

// settle waits for what still runs, after it was cancelled, and closes what connected too late.
func (r *race) settle(answers <-chan answer) {
	for r.running > 0 {
		res := <-r.results
		r.finish(res)
		if res.err == nil {
			_ = res.conn.Close()
		}
	}
	for r.unknown > 0 {
		r.learn(<-answers)
	}
}

// explain says why there was no winner. ctx is the caller's.
func (r *race) explain(ctx context.Context, addr string) *Error {
	e := &Error{Addr: addr, Err: r.lookupErr}
	for _, a := range r.attempts {
		if mark, ok := markError(a.Err); ok {
			return &Error{Addr: addr, Err: mark} // it is the same for every address
		}
		if a.Err != nil { // nil is one that connected too late
			e.Attempts = append(e.Attempts, a)
		}
	}
	if len(e.Attempts) > 0 && isNotFound(e.Err) {
		e.Err = nil // the host has addresses of one family, which is no fault
	}
	if len(e.Attempts) == 0 && e.Err == nil {
		e.Err = ctx.Err()
	}
	return e
}
