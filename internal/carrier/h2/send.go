package h2

import (
	"os"
	"slices"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// maxPayload makes a whole frame one TLS record, and is how much a writer may have before the next one gets
// its turn.
const maxPayload = transport.RecordSize - frameHeaderLen

// take waits until both windows have room for some of n bytes of the stream, and returns how much one frame
// may carry. Streams that wait for the connection's window get it in the order in which they came.
func (s *Stream) take(n int) (int, error) {
	for {
		if s.writeBy.Passed() {
			s.leave()
			return 0, os.ErrDeadlineExceeded
		}
		m, err := s.tryTake(n)
		if m > 0 || err != nil {
			return m, err
		}
		select {
		case <-s.writable:
		case <-s.gone:
		case <-s.writeBy.Done():
		}
	}
}

// giveBack returns what was taken for a frame that did not go out.
func (s *Stream) giveBack(n int) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.sendLeft += int64(n)
	s.c.sendLeft += int64(n)
	s.c.wakeStarved()
}

// leave takes a stream out of the list of those that wait.
func (s *Stream) leave() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.fed(s)
}

// tryTake returns 0 and no error when the windows are closed.
func (s *Stream) tryTake(n int) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.whyLocked(nil); err != nil {
		c.fed(s)
		return 0, err
	}
	switch {
	case s.sendLeft <= 0: // its own window is what it waits for
		c.fed(s)
		return 0, nil
	case c.sendLeft <= 0, len(c.starved) > 0 && c.starved[0] != s:
		c.starve(s)
		return 0, nil
	}
	m := min(n, maxPayload, c.peer.maxFrame, int(min(s.sendLeft, c.sendLeft)))
	s.sendLeft -= int64(m)
	c.sendLeft -= int64(m)
	c.meter.add(time.Now(), int64(m))
	c.fed(s)
	return m, nil
}

// starve puts a stream into the list of those that wait for the connection's window. The caller holds mu.
func (c *Conn) starve(s *Stream) {
	if !s.waiting {
		s.waiting = true
		c.starved = append(c.starved, s)
	}
}

// fed takes a stream out of the list and lets the next one try. The caller holds mu.
func (c *Conn) fed(s *Stream) {
	if s.waiting {
		s.waiting = false
		c.starved = slices.DeleteFunc(c.starved, func(other *Stream) bool { return other == s })
	}
	if c.sendLeft > 0 {
		c.wakeStarved()
	}
}

// wakeStarved lets the first stream in the list try. The caller holds mu.
func (c *Conn) wakeStarved() {
	if len(c.starved) > 0 {
		c.starved[0].signalWritable()
	}
}
