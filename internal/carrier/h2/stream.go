package h2

import (
	"io"
	"net"
	"os"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// A stream that we closed is reset unless the server's end comes within lingerTime and lingerBytes.
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 64 << 10
)

// Stream is one stream of a Conn. As a byte stream it ends with END_STREAM: Read returns io.EOF for the
// server's, and CloseWrite sends ours. Anything else is an error.
type Stream struct {
	c  *Conn
	id uint32

	readable chan struct{} // holds a token when Read should look again
	writable chan struct{} // the same for Write
	gone     chan struct{} // closed by Close and Abort
	readBy   transport.Deadline
	writeBy  transport.Deadline

	// Guarded by the connection's lock.
	inbox    inbox
	recv     window
	sendLeft int64 // what the server takes of this stream
	waiting  bool  // is in the connection's list of starved streams
	status   int   // of the response; 0 until it comes
	ended    bool  // the server's END_STREAM came
	sendErr  error // why nothing more can be sent once our half is over, while the stream is not
	closed   bool  // Close or Abort was called
	unwanted int64 // bytes that came after that
	err      error // why the stream broke
	linger   *time.Timer
}

var (
	_ transport.StreamConn     = (*Stream)(nil)
	_ transport.HeadroomWriter = (*Stream)(nil)
	_ transport.Sharer         = (*Stream)(nil)
	_ transport.Aborter        = (*Stream)(nil)
)

func (s *Stream) signalReadable() { signal(s.readable) }
func (s *Stream) signalWritable() { signal(s.writable) }

// Read implements net.Conn.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if s.readBy.Passed() {
			return 0, os.ErrDeadlineExceeded
		}
		n, err := s.tryRead(p)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-s.readable:
		case <-s.gone:
		case <-s.readBy.Done():
		}
	}
}

// tryRead returns 0 and no error when there is nothing yet.
func (s *Stream) tryRead(p []byte) (int, error) {
	s.c.mu.Lock()
	if s.closed {
		s.c.mu.Unlock()
		return 0, net.ErrClosed
	}
	n := s.inbox.read(p)
	var err, broken error
	switch {
	case n > 0:
		broken = s.c.consumedLocked(s, int64(n))
	case s.err != nil:
		err = s.err
	case s.ended:
		err = io.EOF
	}
	s.c.mu.Unlock()
	s.c.fail(broken)
	return n, err
}

// Write implements net.Conn. It copies p into frames.
func (s *Stream) Write(p []byte) (n int, err error) {
	buf := blocks.Get().(*block)
	defer blocks.Put(buf)
	room := s.Headroom()
	for n < len(p) {
		m := copy(buf[room.Front:room.Front+room.Max], p[n:])
		if err := s.WriteHeadroom(buf[:room.Front+m], room.Front, 0); err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// Headroom implements transport.HeadroomWriter: a full frame is one TLS record.
func (s *Stream) Headroom() transport.Headroom {
	return transport.Headroom{Front: frameHeaderLen, Max: maxPayload}
}

// WriteHeadroom implements transport.HeadroomWriter: the payload becomes one DATA frame where the windows
// allow it, each written with one call.
func (s *Stream) WriteHeadroom(buf []byte, front, back int) error {
	for end := len(buf) - back; front < end; {
		n, err := s.take(end - front)
		if err != nil {
			return err
		}
		// The header overwrites what the frame before has sent.
		h := frameHeader{length: n, kind: frameData, stream: s.id}
		h.put(buf[front-frameHeaderLen:])
		if err := s.send(buf[front-frameHeaderLen : front+n]); err != nil {
			s.giveBack(n)
			return err
		}
		front += n
	}
	return nil
}

// send writes a whole frame when it is our turn. An error means that it did not leave as a whole: what was in
// it may then be sent over another connection.
func (s *Stream) send(frame []byte) error {
	if !s.c.out.begin(s.gone, s.writeBy.Done()) {
		return s.why(os.ErrDeadlineExceeded)
	}
	if err := s.why(nil); err != nil { // our half may have ended while we waited, and then nothing may follow
		s.c.out.end()
		return err
	}
	whole, err := s.c.out.write(frame)
	s.c.out.end()
	if err != nil {
		s.c.fail(err)
	}
	if whole {
		return nil
	}
	return s.why(err)
}

// why returns the reason for which nothing can be sent, or otherwise err.
func (s *Stream) why(err error) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.whyLocked(err)
}

func (s *Stream) whyLocked(err error) error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.err != nil:
		return s.err
	case s.sendErr != nil:
		return s.sendErr
	}
	return err
}

// CloseWrite implements transport.StreamConn: END_STREAM, behind the frame that is on its way. It waits for
// nothing.
func (s *Stream) CloseWrite() error {
	s.c.mu.Lock()
	err := s.err
	if s.closed {
		err = net.ErrClosed
	}
	var broken error
	if err == nil {
		broken = s.endSendingLocked()
	}
	s.c.mu.Unlock()
	s.c.fail(broken)
	return err
}

// endSendingLocked ends our half, once. An error ends the connection. The caller holds the connection's lock.
func (s *Stream) endSendingLocked() error {
	if s.sendErr != nil {
		return nil
	}
	s.sendErr = net.ErrClosed
	s.signalWritable()
	h := frameHeader{kind: frameData, flags: flagEndStream, stream: s.id}
	err := s.c.out.queue(h.appendTo)
	s.finishLocked()
	return err
}

// CloseRead implements transport.StreamConn. HTTP/2 has no way to say it but to reset the stream.
func (s *Stream) CloseRead() error { return nil }

// Close implements net.Conn. A stream whose halves have both ended is simply forgotten. Otherwise our half
// ends, and the server gets a moment to end its own before the stream is reset.
func (s *Stream) Close() error {
	s.c.mu.Lock()
	if s.closed {
		s.c.mu.Unlock()
		return nil
	}
	s.closeLocked()
	var broken error
	if s.err == nil {
		broken = s.endSendingLocked()
	}
	if s.c.streams[s.id] == s {
		s.linger = time.AfterFunc(lingerTime, func() { s.c.fail(s.c.reset(s, CodeCancel, net.ErrClosed)) })
	}
	s.c.mu.Unlock()
	s.c.fail(broken)
	return nil
}

// Abort implements transport.Aborter: RST_STREAM.
func (s *Stream) Abort() error {
	s.c.mu.Lock()
	s.closeLocked()
	s.c.mu.Unlock()
	s.c.fail(s.c.reset(s, CodeCancel, net.ErrClosed))
	return nil
}

// closeLocked marks the stream closed by us. The caller holds the connection's lock.
func (s *Stream) closeLocked() {
	if !s.closed {
		s.closed = true
		close(s.gone)
	}
	s.inbox.clear()
	s.recv.release(s.c.budget)
	s.c.fed(s)
}

// reset sends RST_STREAM for a stream that is not over yet. An error ends the connection.
func (c *Conn) reset(s *Stream, code ErrCode, why error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resetLocked(s, code, why)
}

// resetLocked is reset for a caller that holds mu.
func (c *Conn) resetLocked(s *Stream, code ErrCode, why error) error {
	if c.streams[s.id] != s {
		return nil
	}
	s.breakLocked(why)
	c.forget(s)
	return c.out.queue(func(b []byte) []byte { return appendRSTStream(b, s.id, code) })
}

// resetByPeer takes the server's RST_STREAM. After its END_STREAM, NO_ERROR says only that it needs no more
// of our half (RFC 9113, section 8.1). The caller holds the connection's lock.
func (s *Stream) resetByPeer(code ErrCode) {
	if !s.ended || code != CodeNo {
		s.breakLocked(&StreamError{Code: code})
		return
	}
	if s.sendErr == nil {
		s.sendErr = &StreamError{Code: code}
	}
	s.signalWritable()
	s.finishLocked()
}

// breakLocked makes everything that waits on the stream fail.
func (s *Stream) breakLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	if s.linger != nil {
		s.linger.Stop()
	}
	s.signalReadable()
	s.signalWritable()
}

// endLocked takes the server's END_STREAM.
func (s *Stream) endLocked() {
	s.ended = true
	s.finishLocked()
	s.signalReadable()
}

// finishLocked forgets a stream of which both halves have ended.
func (s *Stream) finishLocked() {
	if !s.ended || s.sendErr == nil {
		return
	}
	if s.linger != nil {
		s.linger.Stop()
	}
	s.c.forget(s)
}

// Strained implements transport.Sharer.
func (s *Stream) Strained() bool { return s.c.Load().Busy || !s.c.Usable() }

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return s.c.net.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *Stream) RemoteAddr() net.Addr { return s.c.net.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error {
	s.readBy.Set(t)
	s.writeBy.Set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.readBy.Set(t)
	return nil
}

// SetWriteDeadline implements net.Conn. It bounds the wait for the windows and for our turn; a frame that has
// begun is always sent whole.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.writeBy.Set(t)
	return nil
}
