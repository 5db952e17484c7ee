package dnsforward

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// What holds where options are zero.
const (
	defaultMaxTTL     = time.Hour
	defaultMinTTL     = time.Second
	maxNegativeTTL    = 5 * time.Minute // a new name should be found soon; RFC 2308 allows up to three hours
	defaultCacheBytes = 4 << 20
)

const (
	// maxCalls bounds the different queries under way.
	maxCalls = 1024
	// callTimeout bounds one of them, over all servers and ways.
	callTimeout = 9 * time.Second
)

var (
	// ErrBusy says that too many queries are under way.
	ErrBusy = errors.New("too many dns queries at once")
	// ErrClosed says that the forwarder is closed.
	ErrClosed = errors.New("dns forwarder is closed")

	errNoServers = errors.New("no dns servers")
)

// Options are what a Forwarder works with.
type Options struct {
	Stream  transport.StreamDialer
	Packet  transport.PacketListener // nil asks by TCP alone
	Servers []netip.AddrPort         // the first is asked first, until it fails and another one does not
	Logger  *slog.Logger             // nil logs nothing

	// NoIPv6 reports at once whether IPv6 cannot be used now. While it is so, names have no IPv6 address,
	// which saves applications from trying it. nil is never.
	NoIPv6 func() bool

	MinTTL, MaxTTL time.Duration // for how long an answer is kept; zero is 1 s and 1 h
	CacheBytes     int           // zero is 4 MiB
}

// Forwarder answers queries. All methods may be called concurrently. It has goroutines and connections while
// there are queries, and for ten seconds after the last one.
type Forwarder struct {
	options Options
	servers []*server
	first   atomic.Int64 // the server to begin with
	cache   cache

	ctx     context.Context //nolint:containedctx // of queries, which outlive the clients that joined them
	stop    context.CancelFunc
	running sync.WaitGroup // grows only under mu and before closed

	mu     sync.Mutex
	closed bool
	calls  map[string]*call
}

// call is a query under way. The fields are set before done is closed.
type call struct {
	done   chan struct{}
	answer []byte
	err    error
}

// New returns a forwarder, which begins with the first query and must be closed.
func New(o Options) *Forwarder {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	limits := cacheLimits{bytes: o.CacheBytes, minTTL: o.MinTTL, maxTTL: o.MaxTTL, maxNeg: maxNegativeTTL}
	if limits.bytes <= 0 {
		limits.bytes = defaultCacheBytes
	}
	if limits.minTTL <= 0 {
		limits.minTTL = defaultMinTTL
	}
	if limits.maxTTL <= 0 {
		limits.maxTTL = defaultMaxTTL
	}
	f := &Forwarder{options: o, cache: cache{limits: limits}, calls: make(map[string]*call)}
	f.ctx, f.stop = context.WithCancel(context.Background())
	for _, addr := range o.Servers {
		f.servers = append(f.servers, f.newServer(addr))
	}
	return f
}

// Query returns the answer to a query, from memory or from a server. The answer is the caller's. An answer
// may be longer than the client takes by UDP, see [Fit]. ctx bounds the wait; the query goes on without the
// client, for the cache.
func (f *Forwarder) Query(ctx context.Context, query []byte) ([]byte, error) {
	q, ok := parseQuery(query)
	if !ok {
		return nil, ErrMalformed
	}
	if query[2]&bitsOpcode != 0 {
		return reply(query, dnsmessage.RCodeNotImplemented, 0), nil
	}
	if q.kind == dnsmessage.TypeAAAA && f.options.NoIPv6 != nil && f.options.NoIPv6() {
		return reply(query, dnsmessage.RCodeSuccess, 0), nil
	}
	key := q.key(query)
	if answer, ok := f.cache.lookup(key, time.Now()); ok {
		address(answer, query)
		return answer, nil
	}
	c, err := f.join(key, query)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.err != nil {
		return nil, c.err
	}
	answer := bytes.Clone(c.answer)
	address(answer, query)
	return answer, nil
}

// join returns the call for a key, which begins if there is none.
func (f *Forwarder) join(key string, query []byte) (*call, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.calls[key]; c != nil {
		return c, nil
	}
	switch {
	case f.closed:
		return nil, ErrClosed
	case len(f.calls) >= maxCalls:
		return nil, ErrBusy
	}
	c := &call{done: make(chan struct{})}
	f.calls[key] = c
	query = bytes.Clone(query)
	f.running.Go(func() { f.serve(c, key, query) })
	return c, nil
}

// serve brings a call to its end.
func (f *Forwarder) serve(c *call, key string, query []byte) {
	ctx, cancel := context.WithTimeout(f.ctx, callTimeout)
	defer cancel()
	c.answer, c.err = f.ask(ctx, query)
	if c.err == nil {
		f.cache.store(key, c.answer, time.Now())
	}
	f.mu.Lock()
	delete(f.calls, key)
	f.mu.Unlock()
	close(c.done)
}

// ask asks one server after the other, beginning with the one that answered last.
func (f *Forwarder) ask(ctx context.Context, query []byte) (answer []byte, err error) {
	err = errNoServers
	first := int(f.first.Load())
	for i := range f.servers {
		at := (first + i) % len(f.servers)
		next, failure := f.servers[at].ask(ctx, query)
		if failure == nil {
			answer, err = next, nil
			if !unwilling(answer) {
				f.first.Store(int64(at))
				return answer, nil
			}
			continue
		}
		if answer == nil {
			err = failure
		}
		f.options.Logger.DebugContext(ctx, "dns server failed", "addr", f.servers[at].addr, "err", failure)
		if ctx.Err() != nil {
			break
		}
	}
	return answer, err
}

// unwilling reports whether another server may know better.
func unwilling(answer []byte) bool {
	code := rcode(answer)
	return code == dnsmessage.RCodeServerFailure || code == dnsmessage.RCodeRefused ||
		code == dnsmessage.RCodeNotImplemented
}

// Close ends all queries and connections and waits for them.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.stop()
	f.running.Wait()
	return nil
}

// start runs a goroutine that Close waits for.
func (f *Forwarder) start(run func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	f.running.Go(run)
	return nil
}
