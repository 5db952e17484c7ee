package socks5

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// defaultMaxConns keeps a runaway client from taking all memory and file descriptors of the host.
const defaultMaxConns = 16384

// Settings are what may change while a server serves. A flow keeps those that it began with.
type Settings struct {
	Stream       transport.StreamDialer   // required
	Packet       transport.PacketListener // nil answers UDP ASSOCIATE with reply 7
	Users        Users                    // zero lets everybody in
	UDPAdvertise netip.Addr               // what UDP ASSOCIATE replies name; zero is the socket's own address
	Limits       relay.Limits             // of streams
	MaxOutside   int                      // connections that the gate has not let in; zero is any number
	SocketBuffer int                      // bytes each way in a client's socket; zero is as the system has it
}

// Server is a SOCKS5 server. The exported fields are its options, which must not change once it serves,
// except by Update. Serve, Update and Shutdown may be called concurrently.
//
// There are three states: open, draining, cut.
//
//	open     -- Shutdown ------------> draining  no new connections; flows go on
//	draining -- Shutdown's ctx done -> cut       flows are reset
type Server struct {
	Settings              // to begin with
	MaxConns int          // control connections at once, the rest is refused; zero is 16384
	Logger   *slog.Logger // nil logs nothing
	Observer Observer     // may be nil
	Gate     Gate         // nil lets everybody in

	updated atomic.Pointer[Settings] // nil before the first Update

	flows sync.WaitGroup // grows only under mu and before closed

	mu     sync.Mutex
	closed bool
	doors  map[*door]struct{}
	cuts   map[uint64]cut // by flow id
	inside int            // of these
	lastID uint64

	refused atomic.Uint64 // connections
}

// cut ends a flow that runs.
type cut struct {
	cancel context.CancelCauseFunc
	inside bool // the gate has let it in
}

// Update replaces the settings for the flows to come.
func (s *Server) Update(next Settings) { s.updated.Store(&next) }

func (s *Server) settings() *Settings {
	if updated := s.updated.Load(); updated != nil {
		return updated
	}
	return &s.Settings
}

var (
	errClosed = errors.New("server is shut down")
	errFull   = errors.New("too many connections")
)

// door is one listener in a call of Serve.
type door struct {
	listener net.Listener
	cancel   context.CancelFunc // wakes Serve from a pause
}

func (d *door) close() {
	d.cancel()
	_ = d.listener.Close() // fails only on a closed listener
}

// Shutdown closes the listeners, waits for the flows to end, and when ctx is done resets those that remain.
// It returns nil if all ended by themselves, else how many did not and the cause of ctx's end. When it
// returns, no flow runs any more and calls of Serve are about to return.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, d := range s.closeDoors() {
		d.close()
	}
	cut := make(chan int, 1) // how many flows have been cut
	stop := context.AfterFunc(ctx, func() { cut <- s.cutFlows() })
	s.flows.Wait()
	if stop() {
		return nil
	}
	if n := <-cut; n > 0 {
		return fmt.Errorf("%d flows cut: %w", n, context.Cause(ctx))
	}
	return nil
}

// closeDoors refuses all that is new and returns what is open.
func (s *Server) closeDoors() []*door {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	open := make([]*door, 0, len(s.doors))
	for d := range s.doors {
		open = append(open, d)
	}
	return open
}

// cutFlows returns how many flows there were to cut.
func (s *Server) cutFlows() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.cuts {
		c.cancel(errClosed)
	}
	return len(s.cuts)
}

// CutNewest resets the newest of the flows that the gate has let in, one in so many, for a cause. It returns
// how many these were.
func (s *Server) CutNewest(oneIn int, cause error) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var inside []uint64
	for id, c := range s.cuts {
		if c.inside {
			inside = append(inside, id)
		}
	}
	slices.Sort(inside)
	newest := inside[len(inside)-(len(inside)+oneIn-1)/oneIn:]
	for _, id := range newest {
		s.cuts[id].cancel(cause)
		s.cuts[id] = cut{cancel: s.cuts[id].cancel} // not to be chosen again
		s.inside--
	}
	return len(newest)
}

// Refused returns how many connections were closed at once because there were too many.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// openDoor reports whether the server still takes listeners.
func (s *Server) openDoor(d *door) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.doors == nil {
		s.doors = make(map[*door]struct{})
	}
	s.doors[d] = struct{}{}
	return true
}

func (s *Server) forgetDoor(d *door) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.doors, d)
}

// startFlow runs serve in a goroutine that Shutdown waits for, with the id of the flow and a context that
// Shutdown cancels. The values are ctx's, its end is not.
func (s *Server) startFlow(ctx context.Context, serve func(ctx context.Context, id uint64)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if outside := len(s.cuts) - s.inside; len(s.cuts) >= s.maxConns() || s.crowded(outside) {
		s.refused.Add(1)
		return errFull
	}
	if s.cuts == nil {
		s.cuts = make(map[uint64]cut)
	}
	s.lastID++
	id := s.lastID
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	s.cuts[id] = cut{cancel: cancel}
	s.flows.Go(func() {
		defer s.endFlow(id, cancel)
		serve(ctx, id)
	})
	return nil
}

// noteInside marks a flow that the gate has let in.
func (s *Server) noteInside(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts[id] = cut{s.cuts[id].cancel, true}
	s.inside++
}

func (s *Server) endFlow(id uint64, cancel context.CancelCauseFunc) {
	cancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cuts[id].inside {
		s.inside--
	}
	delete(s.cuts, id)
}

func (s *Server) maxConns() int {
	if s.MaxConns > 0 {
		return s.MaxConns
	}
	return defaultMaxConns
}

// crowded reports whether so many are outside as may be.
func (s *Server) crowded(outside int) bool {
	most := s.settings().MaxOutside
	return most > 0 && outside >= most
}

func (s *Server) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.New(slog.DiscardHandler)
}

func (s *Server) gate() Gate {
	if s.Gate != nil {
		return s.Gate
	}
	return openGate{}
}

func (s *Server) observer() Observer {
	if s.Observer != nil {
		return s.Observer
	}
	return unobserved{}
}
