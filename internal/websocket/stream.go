package websocket

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Stream is a WebSocket as a stream of bytes.
//
// CloseWrite sends a Close frame (or holds it, see HalfClose) and reading goes on. Read returns io.EOF after
// the peer's clean Close frame, and writing goes on. Close after both is clean; Close before sends our Close
// frame and does not wait for the peer's.
type Stream struct{ conn }

var (
	_ transport.StreamConn     = (*Stream)(nil)
	_ transport.HeadroomWriter = (*Stream)(nil)
	_ transport.WaitReader     = (*Stream)(nil)
	_ transport.Aborter        = (*Stream)(nil)
)

// NewStream makes a Stream of a carrier whose WebSocket handshake is done. The Stream owns the carrier.
func NewStream(carrier transport.StreamConn, o Options) *Stream {
	s := new(Stream)
	s.init(carrier, o, s.pathAlive)
	return s
}

// Read implements net.Conn.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.WaitRead(); err != nil {
		return 0, err
	}
	n, err := s.in.read(p)
	if err != nil {
		return 0, s.why(err)
	}
	return n, nil
}

// WaitRead implements transport.WaitReader: it returns when a message has begun to arrive.
func (s *Stream) WaitRead() error {
	for s.in.left == 0 {
		if err := s.in.advance(); err != nil {
			return s.why(err)
		}
	}
	return nil
}

// frames holds buffers in which Write masks a copy of what it was given.
var frames = sync.Pool{New: func() any { return new([transport.RecordSize]byte) }}

// Write implements net.Conn. It sends p in messages that fit a TLS record each.
func (s *Stream) Write(p []byte) (n int, err error) {
	buf := frames.Get().(*[transport.RecordSize]byte)
	defer frames.Put(buf)
	room := s.Headroom()
	for n < len(p) {
		m := copy(buf[room.Front:room.Front+room.Max], p[n:])
		if err := s.write(buf[:room.Front+m+room.Back], room.Front, room.Back); err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// Headroom implements transport.HeadroomWriter.
func (s *Stream) Headroom() transport.Headroom { return s.out.headroom() }

// WriteHeadroom implements transport.HeadroomWriter; the payload becomes one message.
func (s *Stream) WriteHeadroom(buf []byte, front, back int) error {
	return s.write(buf, front, back)
}

// CloseWrite implements transport.StreamConn.
func (s *Stream) CloseWrite() error {
	if s.halfClose == Defer {
		s.out.endData() // Close sends the frame, once the peer's has ended the other half
		return nil
	}
	return s.sendClose()
}

// CloseRead implements transport.StreamConn. A WebSocket has no way to say it to the peer.
func (s *Stream) CloseRead() error { return nil }

// PeerGone reports, after Read returned io.EOF, whether the peer has left altogether instead of ending its
// half: it watches the carrier for the given time. Only the goroutine that reads may call it.
func (s *Stream) PeerGone(within time.Duration) bool {
	if err := s.carrier.SetReadDeadline(time.Now().Add(within)); err != nil {
		return true
	}
	var scrap [maxControl]byte
	for {
		_, err := s.carrier.Read(scrap[:]) // what follows a Close frame means nothing (section 5.5.1)
		if err != nil {
			_ = s.carrier.SetReadDeadline(time.Time{})
			return !errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}

// StreamEndpoint opens Streams over the carriers of another endpoint.
type StreamEndpoint struct {
	Carrier transport.StreamEndpoint
	Options Options
}

var _ transport.StreamEndpoint = StreamEndpoint{}

// ConnectStream implements transport.StreamEndpoint.
func (e StreamEndpoint) ConnectStream(ctx context.Context) (transport.StreamConn, error) {
	carrier, err := e.Carrier.ConnectStream(ctx)
	if err != nil {
		return nil, err
	}
	return NewStream(carrier, e.Options), nil
}
