package outlinetest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// errReset is what a stream that was reset by either side gives.
var errReset error = syscall.ECONNRESET

// h2Stream is a stream of a connection as a lane.
type h2Stream struct {
	conn    *h2Conn
	id      uint32
	over    chan struct{} // closed by shut
	writing sync.Mutex    // a Write is not mixed with another

	// The rest is guarded by conn.mu.
	wake       *sync.Cond   // any of it changed
	in         bytes.Buffer // bounded by recv
	send, recv int64        // what we and the client may send
	unacked    int64        // taken from in and not yet given back
	ended      bool         // the client has ended its half
	replied    bool         // the response's head is out
	finished   bool         // we have ended our half
	err        error        // why the stream is gone
	closed     bool         // not counted any more by conn.open
	read       deadline
	write      deadline
}

var _ lane = (*h2Stream)(nil)

func newH2Stream(h *h2Conn, id uint32) *h2Stream {
	return &h2Stream{conn: h, id: id, over: make(chan struct{}), wake: sync.NewCond(&h.mu)}
}

func (s *h2Stream) Read(p []byte) (int, error) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	for {
		switch {
		case s.err != nil:
			return 0, s.err
		case s.read.passed:
			return 0, os.ErrDeadlineExceeded
		case s.in.Len() > 0:
			n, _ := s.in.Read(p)
			s.conn.credit(s, int64(n))
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.wake.Wait()
	}
}

func (s *h2Stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	sent := 0
	for sent < len(p) {
		n, err := s.reserve(len(p) - sent)
		if err != nil {
			return sent, err
		}
		if err := s.conn.out.data(s, p[sent:sent+n]); err != nil {
			s.refund(n)
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// reserve waits until a part of n bytes may be sent, and takes it from the windows.
func (s *h2Stream) reserve(n int) (int, error) {
	h := s.conn
	h.mu.Lock()
	defer h.mu.Unlock()
	defer delete(h.flow.starved, s)
	for {
		if err := s.mayWrite(); err != nil {
			return 0, err
		}
		if s.write.passed {
			return 0, os.ErrDeadlineExceeded
		}
		if room := min(s.send, h.flow.send, h.flow.frame, int64(n)); room > 0 {
			s.send -= room
			h.flow.send -= room
			return int(room), nil
		}
		h.flow.starved[s] = struct{}{}
		s.wake.Wait()
	}
}

// refund gives the connection back what was reserved and not sent.
func (s *h2Stream) refund(n int) {
	h := s.conn
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flow.send += int64(n)
	for other := range h.flow.starved {
		other.wake.Broadcast()
	}
}

// mayWrite tells why nothing can be sent any more. conn.mu is held.
func (s *h2Stream) mayWrite() error {
	if s.finished && s.err == nil {
		return syscall.EPIPE
	}
	return s.err
}

// sendable is mayWrite for who does not hold conn.mu.
func (s *h2Stream) sendable() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.mayWrite()
}

// reply sends the head of the response.
func (s *h2Stream) reply(fields []hpack.HeaderField) error {
	s.conn.mu.Lock()
	s.replied = true
	s.conn.mu.Unlock()
	return s.conn.out.headers(s, fields)
}

func (s *h2Stream) done() <-chan struct{} { return s.over }

// fin sends END_STREAM.
func (s *h2Stream) fin() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.mayWrite() != nil {
		return
	}
	s.finished = true
	s.endStream()
	s.settle()
	s.wake.Broadcast()
}

// cut is fin: DATA has no other end.
func (s *h2Stream) cut() { s.fin() }

func (s *h2Stream) endStream() {
	s.conn.out.control(func() error { return s.conn.framer.WriteData(s.id, true, nil) })
}

func (s *h2Stream) rstStream(code http2.ErrCode) {
	s.conn.out.control(func() error { return s.conn.framer.WriteRSTStream(s.id, code) })
}

// reset is what a front sends whose server is gone.
func (s *h2Stream) reset() { s.resetWith(http2.ErrCodeInternal) }

func (s *h2Stream) resetWith(code http2.ErrCode) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.err == nil {
		s.rstStream(code)
		s.shut(errReset)
	}
}

// Close ends our half, and then the client's if that is open: with NO_ERROR, as its answer was complete
// (RFC 9113, section 8.1).
func (s *h2Stream) Close() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	switch {
	case s.err != nil:
		return nil
	case !s.replied:
		s.rstStream(http2.ErrCodeInternal)
	default:
		if !s.finished {
			s.endStream()
		}
		if !s.ended {
			s.rstStream(http2.ErrCodeNo)
		}
	}
	s.shut(net.ErrClosed)
	return nil
}

// shut breaks the stream for its users here. conn.mu is held.
func (s *h2Stream) shut(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	close(s.over)
	delete(s.conn.streams, s.id)
	s.settle()
	s.conn.credit(nil, int64(s.in.Len()))
	s.in = bytes.Buffer{}
	s.read.set(time.Time{}, nil, nil)
	s.write.set(time.Time{}, nil, nil)
	s.wake.Broadcast()
}

// settle keeps the count of open streams. conn.mu is held.
func (s *h2Stream) settle() {
	if !s.closed && (s.err != nil || s.ended && s.finished) {
		s.closed = true
		s.conn.open--
	}
}

func (s *h2Stream) LocalAddr() net.Addr  { return s.conn.tcp.LocalAddr() }
func (s *h2Stream) RemoteAddr() net.Addr { return s.conn.tcp.RemoteAddr() }

func (s *h2Stream) SetDeadline(t time.Time) error { return s.setDeadlines(t, &s.read, &s.write) }

func (s *h2Stream) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, &s.read) }

func (s *h2Stream) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, &s.write) }

func (s *h2Stream) setDeadlines(t time.Time, deadlines ...*deadline) error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for _, d := range deadlines {
		d.set(t, &s.conn.mu, s.wake.Broadcast)
	}
	return nil
}
