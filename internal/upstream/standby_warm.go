package upstream

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// longAgo is a deadline that ends what is blocked.
var longAgo = time.Unix(1, 0)

// warm is a connection that is ready.
//
//	ready --claim--> handed out
//	ready --release--> leaves
//	ready --its read ends--> dead
type warm[C connection] struct {
	conn  C
	born  time.Time
	proof time.Time // when it shows that the server keeps what it takes
	renew time.Time // when another should take its place
	last  time.Time // when it must leave in any case

	fate fate // what becomes of it, once it is not ready any more; guarded by standby.mu

	over chan struct{} // closed when the attendant reads no more
	err  error         // what it met; valid then
}

// fate is why a connection is not ready any more.
type fate uint8

const (
	death fate = iota
	handedOut
	leaves
)

func newWarm[C connection](conn C, now time.Time) *warm[C] {
	spread := rand.N(renewSpread) //nolint:gosec // spreads load, hides nothing
	return &warm[C]{
		conn:  conn,
		born:  now,
		proof: now.Add(proofAge),
		renew: now.Add(renewAfter + spread),
		last:  now.Add(lastAge),
		over:  make(chan struct{}),
	}
}

// slept reports whether the host was suspended for too long since w was opened: the wall clock went on, the
// monotonic one and all timers did not, and the end of w was told to nobody.
func (w *warm[C]) slept(now time.Time) bool { return now.Round(0).Sub(w.born.Round(0)) >= lastAge }

// attend reads from a ready connection until that is handed out, leaves or dies.
func (s *standby[C]) attend(w *warm[C]) {
	w.err = w.conn.WaitRead() // a server that speaks first is as good as dead
	fate := s.forget(w)
	close(w.over)
	switch fate {
	case handedOut: // the connection is the flow's
	case leaves:
		w.conn.Leave()
	default:
		s.died(w)
		_ = w.conn.Close()
	}
}

// forget takes w out of what is ready, if it still is. It returns the fate that w had before.
func (s *standby[C]) forget(w *warm[C]) fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = slices.DeleteFunc(s.ready, func(other *warm[C]) bool { return other == w })
	return w.fate
}

// died looks what the death of w means: the server does not keep what it takes, or w's place is free.
func (s *standby[C]) died(w *warm[C]) {
	s.log.Debug("standby lost", "err", w.err, "dur", time.Since(w.born))
	if s.lost != nil {
		s.lost()
	}
	s.update(func(now time.Time) {
		if now.Before(w.proof) {
			s.doubt.failed(now)
		}
	})
}

// claim takes a ready connection for a flow; nil if there is none. The youngest has the best chances, unless
// its path is strained.
func (s *standby[C]) claim() *warm[C] {
	for {
		s.mu.Lock()
		ready := slices.Clone(s.ready)
		s.mu.Unlock()
		w := best(ready)
		if w == nil {
			return nil
		}
		if s.take(w) {
			return w
		}
	}
}

// take hands w out, unless it is not ready any more, and has its place filled.
func (s *standby[C]) take(w *warm[C]) (ok bool) {
	s.update(func(time.Time) {
		i := slices.Index(s.ready, w)
		if ok = i >= 0; ok {
			s.ready = slices.Delete(s.ready, i, i+1)
			w.fate = handedOut
		}
	})
	return ok
}

func best[C connection](ready []*warm[C]) *warm[C] {
	for _, w := range slices.Backward(ready) {
		if !w.conn.Strained() {
			return w
		}
	}
	if len(ready) == 0 {
		return nil
	}
	return ready[len(ready)-1]
}

// interrupt has the attendant read no more.
func (w *warm[C]) interrupt() { _ = w.conn.SetReadDeadline(longAgo) }

// handOver gives the connection to a flow. It reports false when its end came first.
func (w *warm[C]) handOver(o websocket.Options) bool {
	w.conn.SetKeepAlive(o) // first, so that a ping that fails shows in what the attendant met
	w.interrupt()
	<-w.over
	alive := errors.Is(w.err, os.ErrDeadlineExceeded) && w.conn.SetReadDeadline(time.Time{}) == nil
	if !alive {
		_ = w.conn.Close()
	}
	return alive
}
