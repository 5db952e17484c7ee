package relay

import (
	"sync"
	"sync/atomic"
	"time"
)

// ticksPerLimit is how often a flow's counters are read within one limit: silence is noticed between one
// limit and one limit and a quarter after the last byte, without a timer call per chunk.
const ticksPerLimit = 4

// silence calls expired once when nothing moved in a flow for the limit in force. The zero limit waits for
// ever.
type silence struct {
	moved   func() int64   // bytes moved so far
	matters func() verdict // whether silence counts at the moment; nil = always
	expired func()

	mu    sync.Mutex
	limit time.Duration
	timer *time.Timer // nil while there is no limit
	last  int64
	since time.Time // when last was first seen
	over  bool

	ticks sync.WaitGroup // timers that are set, and calls of tick
}

// setLimit starts the wait anew under another limit.
func (s *silence) setLimit(limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.disarm()
	s.limit, s.last, s.since = limit, s.moved(), time.Now()
	if limit > 0 {
		s.ticks.Add(1)
		s.timer = time.AfterFunc(limit/ticksPerLimit, s.tick)
	}
}

// disarm removes the timer. The caller holds mu.
func (s *silence) disarm() {
	if s.timer != nil && s.timer.Stop() {
		s.ticks.Done()
	}
	s.timer = nil
}

func (s *silence) tick() {
	defer s.ticks.Done()
	if s.check() {
		s.expired()
	}
}

// check reports whether the flow is over, and arms the timer again when it is not.
func (s *silence) check() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.timer == nil {
		return false
	}
	now := time.Now()
	v := s.verdict()
	if v == nevermore {
		s.disarm()
		return false
	}
	if moved := s.moved(); moved != s.last || v == notYet {
		s.last, s.since = moved, now
	}
	if now.Sub(s.since) >= s.limit {
		s.over = true
		return true
	}
	if !s.timer.Reset(s.limit / ticksPerLimit) { // true if setLimit set it while this tick waited for mu
		s.ticks.Add(1)
	}
	return false
}

// verdict says what silence means at the moment.
type verdict uint8

const (
	counts    verdict = iota
	notYet            // it is no silence yet
	nevermore         // nor will it ever be
)

func (s *silence) verdict() verdict {
	if s.matters == nil {
		return counts
	}
	return s.matters()
}

// stop ends the wait. A call of expired in progress is waited for, and none follows.
func (s *silence) stop() {
	s.mu.Lock()
	s.over = true
	s.disarm()
	s.mu.Unlock()
	s.ticks.Wait()
}

// counters are the bytes of a flow, written by its two directions.
type counters struct{ sent, received atomic.Int64 }

func (c *counters) moved() int64 { return c.sent.Load() + c.received.Load() }
