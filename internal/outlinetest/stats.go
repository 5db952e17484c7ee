package outlinetest

import (
	"context"
	"net/http"
	"slices"
	"sync"
)

const listMax = 4096 // entries kept of each list in Stats; the newest

// Stats is what a server has seen.
type Stats struct {
	Accepted   int // TCP connections
	Open       int // TCP connections that are open now
	BadTLS     int // TLS handshakes that failed
	Handshakes int // WebSockets that opened
	Live       int // WebSockets that are open now

	Requests []Request // HTTP requests, whatever their fate
	Targets  []string  // "host:port" of each stream and each packet, as the client asked
	Closings []Closing // one per WebSocket whose client has ended its half

	Received, Sent int64 // binary messages
	Pings, Pongs   int   // received
	BadStreams     int   // streams that did not open
	BadPackets     int   // packets that did not open
	Replays        int   // streams whose salt had been seen

	Mux MuxStats
}

// MuxStats is about HTTP/2 and HTTP/3.
type MuxStats struct {
	QUIC, OpenQUIC int      // QUIC connections, and those that are open now
	Pings          int      // h2: PINGs from clients
	PingAcks       int      // h2: PINGs that clients have answered
	SettingsAcks   int      // h2: SETTINGS that clients have acknowledged
	GoAways        int      // h2: from clients
	Resets         []uint64 // h2, h3: error codes of the RST_STREAMs and RESET_STREAMs from clients
	Violations     []string // h2: what clients did against the protocol
}

// Request is an HTTP request as it came.
type Request struct {
	Proto  string // "HTTP/1.1", "HTTP/2.0" or "HTTP/3.0"
	URI    string // byte for byte
	Host   string
	Header http.Header
	// Head is the whole head, byte for byte. In HTTP/2 it is the fields as they came, one per line, and in
	// HTTP/3 the same with the header sorted.
	Head string
}

// Closing is how a client ended its half of a WebSocket.
type Closing struct {
	Endpoint Endpoint
	Code     int // 1005: a Close frame without a code; 1006: no Close frame
}

// Stats returns a copy of what the server has seen so far.
func (s *Server) Stats() Stats { return s.stats.snapshot() }

// Wait waits until ok says so of the server's stats, which it must not keep or change.
func (s *Server) Wait(ctx context.Context, ok func(Stats) bool) error {
	for {
		done, changed := s.stats.check(ok)
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// statsBox holds the stats.
type statsBox struct {
	mu      sync.Mutex
	now     Stats
	changed chan struct{} // closed by the next update; nil when nobody waits
}

func (b *statsBox) update(change func(*Stats)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.now)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *statsBox) check(ok func(Stats) bool) (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ok(b.now) {
		return true, nil
	}
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return false, b.changed
}

func (b *statsBox) snapshot() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.now
	t.Requests = slices.Clone(t.Requests)
	t.Targets = slices.Clone(t.Targets)
	t.Closings = slices.Clone(t.Closings)
	t.Mux.Resets = slices.Clone(t.Mux.Resets)
	t.Mux.Violations = slices.Clone(t.Mux.Violations)
	return t
}

func (b *statsBox) request(r *http.Request, proto, head string) {
	q := Request{Proto: proto, URI: r.RequestURI, Host: r.Host, Header: r.Header.Clone(), Head: head}
	b.update(func(t *Stats) { t.Requests = appendNewest(t.Requests, q) })
}

func (b *statsBox) reset(code uint64) {
	b.update(func(t *Stats) { t.Mux.Resets = appendNewest(t.Mux.Resets, code) })
}

func (b *statsBox) violation(what string) {
	b.update(func(t *Stats) { t.Mux.Violations = appendNewest(t.Mux.Violations, what) })
}

func (b *statsBox) target(addr string) {
	b.update(func(t *Stats) { t.Targets = appendNewest(t.Targets, addr) })
}

func (b *statsBox) closed(e Endpoint, code int) {
	b.update(func(t *Stats) { t.Closings = appendNewest(t.Closings, Closing{Endpoint: e, Code: code}) })
}

// appendNewest drops the older half of a full list.
func appendNewest[T any](list []T, v T) []T {
	if len(list) >= listMax {
		list = slices.Delete(list, 0, listMax/2)
	}
	return append(list, v)
}
