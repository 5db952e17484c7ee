package relay

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// name is an address.
type name string

func (name) Network() string  { return "udp" }
func (n name) String() string { return string(n) }

// datagram is a payload with the address of its target or its source.
type datagram struct {
	payload string
	addr    net.Addr
}

// socket is a packet socket in memory. What arrives is sent to in, what is written comes out of out.
type socket struct {
	in, out chan datagram
	broken  chan error // an error that the next ReadFrom returns
	closed  chan struct{}
	once    sync.Once

	mu       sync.Mutex
	writeErr error         // of every WriteTo, if there is one
	late     time.Duration // how long ReadFrom goes on after Close
	reading  cutoff
	writing  cutoff
}

// cutoff is a deadline that is either past or not set.
type cutoff struct{ past chan struct{} }

func (c *cutoff) set(t time.Time) {
	if !t.IsZero() && !t.After(time.Now()) {
		close(c.past)
		return
	}
	c.past = make(chan struct{})
}

// newSocket returns a socket that holds queue written datagrams.
func newSocket(queue int) *socket {
	return &socket{
		in: make(chan datagram), out: make(chan datagram, queue),
		broken: make(chan error, 1), closed: make(chan struct{}),
		reading: cutoff{make(chan struct{})}, writing: cutoff{make(chan struct{})},
	}
}

func (s *socket) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case d := <-s.in:
		return copy(p, d.payload), d.addr, nil
	case err := <-s.broken:
		return 0, nil, err
	case <-s.reading.past:
		return 0, nil, os.ErrDeadlineExceeded
	case <-s.closed:
		<-time.After(s.late)
		return 0, nil, net.ErrClosed
	}
}

func (s *socket) WriteTo(p []byte, addr net.Addr) (int, error) {
	s.mu.Lock()
	err := s.writeErr
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	select {
	case s.out <- datagram{string(p), addr}:
		return len(p), nil
	case <-s.writing.past:
		return 0, os.ErrDeadlineExceeded
	case <-s.closed:
		return 0, net.ErrClosed
	}
}

func (s *socket) failWrites(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeErr = err
}

func (s *socket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *socket) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

func (s *socket) LocalAddr() net.Addr { return name("socket") }

func (s *socket) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *socket) SetReadDeadline(t time.Time) error {
	s.reading.set(t)
	return nil
}

func (s *socket) SetWriteDeadline(t time.Time) error {
	s.writing.set(t)
	return nil
}

// listener counts dials and notes when they were. open makes the socket.
type listener struct {
	open  func(ctx context.Context) (net.PacketConn, error)
	began time.Time
	dials []time.Duration
}

var _ transport.PacketListener = (*listener)(nil)

func (l *listener) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	l.dials = append(l.dials, time.Since(l.began))
	return l.open(ctx)
}

// opens makes a listener that opens these sockets, one after the other, and fails when there are no more.
func opens(sockets ...*socket) *listener {
	return &listener{began: time.Now(), open: func(context.Context) (net.PacketConn, error) {
		if len(sockets) == 0 {
			return nil, errDial
		}
		s := sockets[0]
		sockets = sockets[1:]
		return s, nil
	}}
}

var errDial = errors.New("no way there")

// traffic is an association at work.
type traffic struct {
	client *socket
	cancel context.CancelCauseFunc
	result chan Result
}

// startPackets relays for a new client.
func startPackets(t *testing.T, up transport.PacketListener, o PacketOptions) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	f := &traffic{client: newSocket(100), cancel: cancel, result: make(chan Result, 1)}
	go func() { f.result <- Packets(ctx, f.client, up, o) }()
	return f
}

// send lets the client send one datagram and waits until nothing moves any more.
func (f *traffic) send(payload string) {
	f.client.in <- datagram{payload, name("target")}
	synctest.Wait()
}

// end cuts the association and returns its result.
func (f *traffic) end() Result {
	f.cancel(errCut)
	return <-f.result
}

// wantOut demands that s was given exactly these payloads since the last look.
func wantOut(t *testing.T, what string, s *socket, want ...string) {
	t.Helper()
	var got []string
	for len(s.out) > 0 {
		got = append(got, (<-s.out).payload)
	}
	if len(got) != len(want) {
		t.Errorf("%s got %q, want %q", what, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s got %q, want %q", what, got, want)
			return
		}
	}
}
