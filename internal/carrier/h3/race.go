package h3

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

// attemptDelay is how long an attempt may run before the next address is tried beside it (RFC 8305,
// section 5).
const attemptDelay = 250 * time.Millisecond

// race is one dial to several addresses.
type race struct {
	addrs   []netip.AddrPort // in the order to try them
	dial    func(ctx context.Context, addr netip.AddrPort) (*link, error)
	results chan result // every attempt sends once
	timer   *time.Timer // starts the next one
	started int
	running int
	errs    []error
}

// result is the end of an attempt.
type result struct {
	addr netip.AddrPort
	link *link
	err  error
}

// run returns the first link whose handshake is done. Nothing runs any more when it returns.
func (r *race) run(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer r.settle()
	defer cancel()
	r.results = make(chan result)
	r.timer = time.NewTimer(attemptDelay)
	defer r.timer.Stop()
	if !r.start(ctx) {
		return nil, r.why(ctx)
	}
	for {
		select {
		case <-r.timer.C:
			r.start(ctx)
		case res := <-r.results:
			r.running--
			if res.err == nil {
				return res.link, nil
			}
			r.errs = append(r.errs, fmt.Errorf("%s: %w", res.addr, res.err))
			if !r.start(ctx) && r.running == 0 {
				return nil, r.why(ctx)
			}
		}
	}
}

// start tries the next address, if there is one and still time.
func (r *race) start(ctx context.Context) bool {
	if r.started == len(r.addrs) || ctx.Err() != nil {
		return false
	}
	addr := r.addrs[r.started]
	r.started++
	r.running++
	r.timer.Reset(attemptDelay)
	go func() { // settle waits for it
		l, err := r.dial(ctx, addr)
		r.results <- result{addr, l, err}
	}()
	return true
}

// settle waits for what still runs, after it was cancelled, and closes what connected too late.
func (r *race) settle() {
	for ; r.running > 0; r.running-- {
		if res := <-r.results; res.err == nil {
			res.link.close()
		}
	}
}

// why says why no attempt succeeded.
func (r *race) why(ctx context.Context) error {
	if ctx.Err() != nil {
		return carrier.DialError(carrier.H3, context.Cause(ctx))
	}
	for _, err := range r.errs {
		if _, ok := errors.AsType[*tlsError](err); ok {
			return carrier.TLSError(carrier.H3, err) // somebody answered
		}
	}
	return carrier.DialError(carrier.H3, carrier.JoinErrors(r.errs))
}

// inTurns orders addresses so that the families take turns, first that of good, which worked last time, or of
// the first address if nothing is known. Good itself comes before all others.
func inTurns(addrs []netip.Addr, good netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return nil
	}
	known := slices.Contains(addrs, good)
	lead := addrs[0]
	if good.IsValid() {
		lead = good
	}
	var first, second []netip.Addr
	if known {
		first = append(first, good)
	}
	for _, a := range addrs {
		switch {
		case known && a == good:
		case a.Is4() == lead.Is4():
			first = append(first, a)
		default:
			second = append(second, a)
		}
	}
	ordered := make([]netip.Addr, 0, len(addrs))
	for i := range addrs {
		if i < len(first) {
			ordered = append(ordered, first[i])
		}
		if i < len(second) {
			ordered = append(ordered, second[i])
		}
	}
	return ordered
}
