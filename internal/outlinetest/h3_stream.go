package outlinetest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// h3Response is the library's response, which can be hijacked.
type h3Response struct {
	http.ResponseWriter
	lane *h3Lane
}

var _ http.Hijacker = (*h3Response)(nil)

// Hijack sends the 200 that RFC 9220 has for the 101 that the caller is about to write.
func (w *h3Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.WriteHeader(http.StatusOK)
	if err := w.lane.open(w.ResponseWriter); err != nil {
		return nil, nil, err
	}
	up := &upgraded{lane: w.lane}
	return up, bufio.NewReadWriter(bufio.NewReader(up), bufio.NewWriter(up)), nil
}

// h3Lane is a request stream as a lane. It can be used once it is open, but for done and Close.
type h3Lane struct {
	server *Server
	quic   *quic.Conn
	over   <-chan struct{} // closed when our half ends or breaks
	stream *http3.Stream   // nil before open

	told    sync.Once // the client's reset is counted
	closed  atomic.Bool
	writing sync.Mutex

	// Guarded by writing.
	torn     bool // a DATA frame was begun and not written whole
	finished bool // our half has ended
}

var _ lane = (*h3Lane)(nil)

// open takes the stream from a response. The head goes out if there is one.
func (l *h3Lane) open(w http.ResponseWriter) error {
	streamer, ok := w.(http3.HTTPStreamer)
	if !ok {
		return errors.ErrUnsupported
	}
	var err error
	l.stream, err = streamer.HTTPStream()
	return err
}

// refuse tells the client that nothing was done (RFC 9114, section 4.1.1).
func (l *h3Lane) refuse(w http.ResponseWriter) {
	if l.open(w) == nil {
		l.breakWith(http3.ErrCodeRequestRejected)
	}
}

func (l *h3Lane) breakWith(code http3.ErrCode) {
	l.stream.CancelWrite(quic.StreamErrorCode(code))
	l.stream.CancelRead(quic.StreamErrorCode(code))
}

func (l *h3Lane) Read(p []byte) (int, error) {
	n, err := l.stream.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && l.quic.Context().Err() == nil {
		if reset, ok := errors.AsType[*http3.Error](err); ok && reset.Remote {
			l.told.Do(func() { l.server.stats.reset(uint64(reset.ErrorCode)) })
		}
	}
	return n, err
}

func (l *h3Lane) Write(p []byte) (int, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.finished {
		return 0, syscall.EPIPE
	}
	n, err := l.stream.Write(p)
	l.torn = l.torn || n < len(p)
	return n, err
}

func (l *h3Lane) done() <-chan struct{} { return l.over }

// fin sends the FIN of the stream, or a reset if that would be in the middle of a DATA frame.
func (l *h3Lane) fin() {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.finished {
		return
	}
	l.finished = true
	if l.torn {
		l.stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeInternalError))
		return
	}
	_ = l.stream.Close()
}

// cut is fin: a stream has no other end.
func (l *h3Lane) cut() { l.fin() }

// reset is what a front sends whose server is gone.
func (l *h3Lane) reset() { l.breakWith(http3.ErrCodeInternalError) }

// Close ends our half and wants no more of the client's (RFC 9114, section 4.1).
func (l *h3Lane) Close() error {
	if l.stream == nil || !l.closed.CompareAndSwap(false, true) {
		return nil
	}
	_ = l.stream.SetWriteDeadline(time.Now()) // for a Write that waits for the client
	l.fin()
	l.stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	return nil
}

func (l *h3Lane) LocalAddr() net.Addr                { return l.quic.LocalAddr() }
func (l *h3Lane) RemoteAddr() net.Addr               { return l.quic.RemoteAddr() }
func (l *h3Lane) SetDeadline(t time.Time) error      { return l.stream.SetDeadline(t) }
func (l *h3Lane) SetReadDeadline(t time.Time) error  { return l.stream.SetReadDeadline(t) }
func (l *h3Lane) SetWriteDeadline(t time.Time) error { return l.stream.SetWriteDeadline(t) }
