package h3

import (
	"io"
	"time"
)

const (
	// lingerTime is how long a stream that we closed may wait for the server's end, and lingerBytes what may
	// come until then. A server that reads STOP_SENDING earlier drops what we have sent: it takes it for the
	// end of the request.
	lingerTime  = 5 * time.Second
	lingerBytes = 64 << 10
)

// Close implements net.Conn. Our half ends with FIN if it has not yet, and the server gets a moment to end
// its own before it is told to stop. A Write that is under way fails, and the server sees a reset.
func (s *Stream) Close() error {
	writing, sentEnd, ok := s.leave()
	if !ok {
		return nil
	}
	var err error
	switch {
	case writing:
		s.raw.CancelWrite(cancelled)
	case !sentEnd:
		err = s.finish()
	}
	if s.ended.Load() || !s.c.start(s.linger) {
		s.over()
	}
	return err
}

// leave marks the stream closed and wakes a Read. It reports how our half stood, and not ok when it was
// closed before.
func (s *Stream) leave() (writing, sentEnd, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.writing, s.sentEnd, false
	}
	s.closed = true
	close(s.gone)
	_ = s.raw.SetReadDeadline(longAgo)
	return s.writing, s.sentEnd, true
}

// linger waits for the server's end.
func (s *Stream) linger() {
	defer s.over()
	s.reading <- struct{}{} // a Read was woken and leaves
	defer func() { <-s.reading }()
	_ = s.raw.SetReadDeadline(time.Now().Add(lingerTime))
	_, err := io.CopyN(io.Discard, s.raw, lingerBytes)
	if err != io.EOF { //nolint:errorlint // as an io.Reader returns it
		s.raw.CancelRead(cancelled) // or its credit would be lost to the connection
	}
}

// Abort implements transport.Aborter: both halves are reset, those that have not ended.
func (s *Stream) Abort() error {
	writing, sentEnd, _ := s.leave()
	if writing || !sentEnd || !s.ended.Load() {
		s.raw.CancelWrite(cancelled)
		s.raw.CancelRead(cancelled)
	}
	s.over()
	return nil
}

// over takes the stream off the connection's account.
func (s *Stream) over() {
	s.forget.Do(func() {
		s.c.release()
		if s.c.debug {
			s.c.log.Debug("h3 stream closed", "stream", int64(s.raw.StreamID()), "ended", s.ended.Load(),
				"sent", s.sent.Load(), "received", s.received.Load())
		}
	})
}
