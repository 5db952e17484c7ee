package h3

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// cancelled is the code of a stream that nobody wants any more.
const cancelled = quic.StreamErrorCode(http3.ErrCodeRequestCanceled)

// longAgo is a deadline that ends what is blocked.
var longAgo = time.Unix(1, 0)

// Stream is one stream of a Conn. As a byte stream it ends with FIN: Read returns io.EOF for the server's,
// and CloseWrite sends ours. Anything else is an error.
type Stream struct {
	c   *Conn
	raw *http3.RequestStream

	reading chan struct{} // holds a token while somebody reads
	gone    chan struct{} // closed by Close and Abort
	ended   atomic.Bool   // the server's half is over, by its end or a failure
	forget  sync.Once     // takes the stream off the connection's account

	sent, received atomic.Int64 // for the log

	mu       sync.Mutex
	closed   bool  // Close or Abort was called
	writing  bool  // a Write is under way
	sentEnd  bool  // our half is over, or will be behind the Write that is under way
	writeErr error // why our half broke
}

var (
	_ transport.StreamConn = (*Stream)(nil)
	_ transport.Sharer     = (*Stream)(nil)
	_ transport.Aborter    = (*Stream)(nil)
)

func newStream(c *Conn, raw *http3.RequestStream) *Stream {
	return &Stream{c: c, raw: raw, reading: make(chan struct{}, 1), gone: make(chan struct{})}
}

// Read implements net.Conn.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-s.gone:
		return 0, net.ErrClosed
	}
	for {
		if s.isGone() {
			return 0, net.ErrClosed
		}
		n, err := s.raw.Read(p)
		if n > 0 {
			s.received.Add(int64(n))
			return n, nil // the error comes again
		}
		if err != nil { // there is none behind trailers
			return 0, s.readError(err)
		}
	}
}

func (s *Stream) readError(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		s.ended.Store(true)
	}
	return s.why(err)
}

// Write implements net.Conn: p becomes one DATA frame. After an error, part of the frame may have left, and
// nothing more can be written, as with TLS.
func (s *Stream) Write(p []byte) (int, error) {
	if err := s.beginWrite(); err != nil {
		return 0, err
	}
	n, err := s.raw.Write(p)
	s.sent.Add(int64(n))
	if err != nil {
		err = s.why(err)
	}
	if s.endWrite(err) {
		_ = s.finish()
	}
	return n, err
}

func (s *Stream) beginWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.writeErr != nil:
		return s.writeErr
	case s.sentEnd:
		return errWriteAfterEnd
	}
	s.writing = true
	return nil
}

// endWrite reports whether CloseWrite was called meanwhile.
func (s *Stream) endWrite(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing, s.writeErr = false, err
	return s.sentEnd
}

// CloseWrite implements transport.StreamConn: FIN. During a Write, it goes out behind it.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	closed, done := s.closed, s.sentEnd || s.writing
	s.sentEnd = s.sentEnd || !closed
	s.mu.Unlock()
	switch {
	case closed:
		return net.ErrClosed
	case done:
		return nil
	}
	return s.finish()
}

// finish ends our half. What broke in the middle of a frame is reset: FIN there would make the server end the
// connection (RFC 9114, section 7.1).
func (s *Stream) finish() error {
	s.mu.Lock()
	err := s.writeErr
	s.mu.Unlock()
	if err != nil {
		s.raw.CancelWrite(cancelled)
		return err
	}
	if err := s.raw.Close(); err != nil {
		return s.why(err)
	}
	return s.c.lost()
}

// CloseRead implements transport.StreamConn. HTTP/3 could say it with STOP_SENDING, but servers take that for
// the end of the request and drop our half too.
func (s *Stream) CloseRead() error { return nil }

// why replaces quic-go's errors by ours.
func (s *Stream) why(err error) error {
	if s.isGone() {
		return net.ErrClosed
	}
	if errors.Is(err, net.ErrClosed) {
		return s.c.because(err)
	}
	if reset, ok := errors.AsType[*quic.StreamError](err); ok {
		return &StreamError{http3.ErrCode(reset.ErrorCode)}
	}
	return err
}

func (s *Stream) isGone() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

// Strained implements transport.Sharer.
func (s *Stream) Strained() bool { return s.c.Load().Busy || !s.c.Usable() }

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return s.c.link.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (s *Stream) RemoteAddr() net.Addr { return s.c.link.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed // the deadline is now that of the end
	}
	return s.raw.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return s.raw.SetWriteDeadline(t)
}
