package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Between two dials of an association lies a pause, which doubles until an answer comes, so that neither a
// dead network nor a server that closes every association costs a dial per packet. What a client sends
// meanwhile is dropped; the applications repeat it.
const (
	firstPause = 500 * time.Millisecond
	maxPause   = 8 * time.Second
	// idlePause is that of a host without a network, where nothing is tried.
	idlePause = 50 * time.Millisecond
)

// PacketOptions are the choices of one association.
type PacketOptions struct {
	Logger  *slog.Logger // nil logs nothing
	Dropped func()       // told of every packet of the client that no upstream took; may be nil
}

// Packets relays the datagrams of one association until client fails or ctx ends. The upstream socket is
// opened with the first packet and again with the first one after it broke, so an association outlives its
// upstream. Packets that meet no upstream are dropped, as networks do. The caller closes client, whose
// deadlines are past when Packets returns.
//
// client.ReadFrom returns a payload with the address of its target; client.WriteTo takes one with its source.
func Packets(
	ctx context.Context, client net.PacketConn, up transport.PacketListener, o PacketOptions,
) Result {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &association{client: client, up: up, log: o.Logger, dropped: o.Dropped}
	cut := whenDone(ctx, func() {
		_ = client.SetDeadline(time.Unix(1, 0))
		a.drop(a.current.Load())
	})
	err := a.send(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel()
	cut()
	a.receivers.Wait()
	return Result{Sent: a.bytes.sent.Load(), Received: a.bytes.received.Load(), Err: err}
}

// association is one client socket and the upstream socket of the moment. Only send's goroutine dials.
type association struct {
	client net.PacketConn
	up     transport.PacketListener
	log    *slog.Logger
	bytes  counters

	dropped   func()                         // may be nil
	current   atomic.Pointer[upstreamSocket] // nil before the first packet and after a failure
	receivers sync.WaitGroup
	complaint sync.Once // one line about the secret is enough

	// Of send's goroutine alone.
	last     *upstreamSocket // the latest one opened, until its answer ended the pause
	pause    time.Duration   // the latest one
	quietTil time.Time       // its end
}

type upstreamSocket struct {
	net.PacketConn
	answered atomic.Bool
}

// send carries the client's packets until the client's socket fails.
func (a *association) send(ctx context.Context) error {
	for {
		if err := waitPacket(a.client); err != nil {
			return err
		}
		if err := a.sendOne(ctx); err != nil {
			return err
		}
	}
}

func (a *association) sendOne(ctx context.Context) error {
	buf := packets.Get().(*[packetSize]byte)
	defer packets.Put(buf)
	n, target, err := a.client.ReadFrom(buf[:])
	if err != nil {
		return err
	}
	if a.deliver(ctx, buf[:n], target) {
		a.bytes.sent.Add(int64(n))
	} else if a.dropped != nil {
		a.dropped()
	}
	return nil
}

// deliver reports whether an upstream took the packet.
func (a *association) deliver(ctx context.Context, p []byte, target net.Addr) bool {
	for range maxSends {
		sock := a.upstream(ctx)
		if sock == nil {
			return false
		}
		_, err := sock.WriteTo(p, target)
		if err == nil {
			return true
		}
		if errors.Is(err, syscall.EMSGSIZE) {
			return false // the packet's fault, not the socket's
		}
		a.lost(sock, err)
	}
	return false
}

// maxSends is how many sockets a packet is tried on: one that broke, or whose upstream was left for another,
// costs no packet where the next one is there at once.
const maxSends = 2

// upstream returns the socket of the moment, opened if need be, or nil when there is none to be had now.
func (a *association) upstream(ctx context.Context) *upstreamSocket {
	if sock := a.current.Load(); sock != nil {
		return sock
	}
	if a.last != nil && a.last.answered.Load() {
		a.last, a.pause, a.quietTil = nil, 0, time.Time{}
	}
	if time.Now().Before(a.quietTil) {
		return nil
	}
	conn, err := a.up.ListenPacket(ctx)
	if errors.Is(err, transport.ErrNoNetwork) {
		a.quietTil = time.Now().Add(idlePause)
		return nil // it is no news
	}
	a.pause = min(max(2*a.pause, firstPause), maxPause)
	a.quietTil = time.Now().Add(a.pause)
	if err != nil {
		if ctx.Err() == nil {
			a.log.WarnContext(ctx, "udp upstream unreachable", "err", err)
		}
		return nil
	}
	sock := &upstreamSocket{PacketConn: conn}
	a.last = sock
	a.current.Store(sock)
	if ctx.Err() != nil { // the end came while the socket was opened and did not see it
		a.drop(sock)
		return nil
	}
	a.receivers.Go(func() { a.receive(sock) })
	return sock
}

// receive carries the answers of one upstream socket until that fails.
func (a *association) receive(sock *upstreamSocket) {
	for {
		if err := waitPacket(sock.PacketConn); err != nil {
			a.lost(sock, err)
			return
		}
		if err := a.receiveOne(sock); err != nil {
			a.lost(sock, err)
			return
		}
	}
}

func (a *association) receiveOne(sock *upstreamSocket) error {
	buf := packets.Get().(*[packetSize]byte)
	defer packets.Put(buf)
	n, source, err := sock.ReadFrom(buf[:])
	if err != nil {
		return err
	}
	if !sock.answered.Load() {
		sock.answered.Store(true)
	}
	// A client that cannot take a packet loses it. One that is gone ends the association from its own side.
	if _, err := a.client.WriteTo(buf[:n], source); err == nil {
		a.bytes.received.Add(int64(n))
	}
	return nil
}

// lost drops a socket that failed; the next packet opens another.
func (a *association) lost(sock *upstreamSocket, err error) {
	if !a.drop(sock) || errors.Is(err, net.ErrClosed) {
		return
	}
	a.log.Debug("udp upstream lost", "err", err)
	if errors.Is(err, io.EOF) && !sock.answered.Load() {
		a.complaint.Do(func() {
			a.log.Info("udp upstream ended without an answer: the targets are silent, or the secret is wrong")
		})
	}
}

// drop closes sock and reports whether it was the current one.
func (a *association) drop(sock *upstreamSocket) bool {
	if sock == nil {
		return false
	}
	was := a.current.CompareAndSwap(sock, nil)
	_ = sock.Close()
	return was
}

// waitPacket waits for the next datagram without a buffer where c can.
func waitPacket(c net.PacketConn) error {
	if w, ok := c.(transport.WaitReader); ok {
		return w.WaitRead()
	}
	return nil
}
