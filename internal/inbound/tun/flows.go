package tun

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

var (
	errClosed = errors.New("server is shut down")
	errFull   = errors.New("too many flows")
)

// flowSet is the flows that run. The zero value is open.
type flowSet struct {
	running sync.WaitGroup // grows only under mu and before closed

	mu     sync.Mutex
	closed bool
	cuts   map[uint64]context.CancelCauseFunc // by flow id
	lastID uint64
}

// ticket is one flow's place in a flowSet.
type ticket struct {
	id   uint64
	live int    // how many flows there are with it
	end  func() // to be called once
}

// begin admits a flow if there are fewer than limit, with a context that cut ends.
func (s *flowSet) begin(ctx context.Context, limit int) (context.Context, ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ticket{}, errClosed
	}
	if len(s.cuts) >= limit {
		return nil, ticket{}, errFull
	}
	if s.cuts == nil {
		s.cuts = make(map[uint64]context.CancelCauseFunc)
	}
	s.lastID++
	id := s.lastID
	ctx, cut := context.WithCancelCause(ctx)
	s.cuts[id] = cut
	s.running.Add(1)
	return ctx, ticket{id: id, live: len(s.cuts), end: func() { s.end(id, cut) }}, nil
}

func (s *flowSet) end(id uint64, cut context.CancelCauseFunc) {
	cut(nil)
	s.mu.Lock()
	delete(s.cuts, id)
	s.mu.Unlock()
	s.running.Done()
}

// close admits no more flows.
func (s *flowSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *flowSet) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// cutNewest ends the newest flows, one in so many, and returns how many these were.
func (s *flowSet) cutNewest(oneIn int, cause error) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := slices.Sorted(maps.Keys(s.cuts))
	newest := ids[len(ids)-(len(ids)+oneIn-1)/oneIn:]
	for _, id := range newest {
		s.cuts[id](cause)
		delete(s.cuts, id) // not to be chosen again
	}
	return len(newest)
}

// cut ends the flows that run and returns how many there were.
func (s *flowSet) cut(cause error) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cut := range s.cuts {
		cut(cause)
	}
	return len(s.cuts)
}
