package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	// packetSilence is for how long all that an association sends may stay unanswered. Applications repeat a
	// lost packet once or twice by then. A server that ends an association sooner, without an answer, refuses
	// it: idle ones live for longer everywhere.
	packetSilence = 2 * time.Second
	// Some targets take their time, or answer now and then. Where another path had no answer at once either,
	// the association is patient for twice as long, up to maxPacketSilence.
	maxPacketSilence = 16 * time.Second
	// promptAnswer is how soon a path has an answer where the one before was to blame for having none.
	promptAnswer = time.Second
	// answerEvery is how often the answers of an association are booked.
	answerEvery = time.Second
)

var (
	// errMoved is what the packets of an association meet on a path that cannot be used any more.
	errMoved = errors.New("the upstream of this association was left for another")
	// errRefused is the failure of a path whose server ends associations at once, as with a wrong secret.
	errRefused = errors.New("the server ended an association instead of answering")
)

// packets is the upstream socket of one association. It moves to another path when nothing is answered; that
// is the path's fault if there is an answer then, and the targets' otherwise. Once its path is left by
// everybody it fails, so that its user opens another one.
type packets struct {
	group *group[transport.PacketListener]
	began time.Time
	home  atomic.Pointer[packetSocket]

	unanswered atomic.Int64 // when something was sent first that nothing answered, since began; 0: nothing
	booked     atomic.Int64 // when an answer was last booked, since began
	patience   atomic.Int64 // for how long it may stay so

	ctx  context.Context //nolint:containedctx // of its dials
	stop context.CancelFunc

	mu     sync.Mutex
	closed bool
	tried  []*path[transport.PacketListener] // since the last answer
	silent *path[transport.PacketListener]   // left for the current one since the last answer, or nil
	moved  time.Duration                     // when, since began
}

// packetSocket is a socket of one path.
type packetSocket struct {
	net.PacketConn
	path     *path[transport.PacketListener]
	answered atomic.Bool
}

var (
	_ net.PacketConn       = (*packets)(nil)
	_ transport.WaitReader = (*packets)(nil)
	_ transport.Aborter    = (*packets)(nil)
	_ transport.Carried    = (*packets)(nil)
)

func newPackets(
	g *group[transport.PacketListener], p *path[transport.PacketListener], conn net.PacketConn,
) *packets {
	k := &packets{group: g, tried: []*path[transport.PacketListener]{p}}
	k.began = time.Now().Add(-1) // so that no time since then is 0
	k.patience.Store(int64(packetSilence))
	k.ctx, k.stop = context.WithCancel(g.all)
	k.home.Store(&packetSocket{PacketConn: conn, path: p})
	p.enter(k)
	return k
}

// Upstream implements transport.Carried.
func (k *packets) Upstream() string { return k.home.Load().path.name }

// WriteTo implements net.PacketConn.
func (k *packets) WriteTo(p []byte, addr net.Addr) (int, error) {
	h := k.home.Load()
	if h.path.left.Load() {
		return 0, errMoved
	}
	now := time.Since(k.began)
	since := time.Duration(k.unanswered.Load())
	if since > 0 && now-since >= time.Duration(k.patience.Load()) {
		k.unanswered.Store(int64(now))
		h.path.Health.Stalled(k.began.Add(now), addr.String())
		k.group.options().Trouble(h.path.Health)
		h = k.move(h)
	}
	n, err := h.WriteTo(p, addr)
	if err != nil {
		return n, err
	}
	h.path.Counters.sent(n)
	h.path.Counters.PacketsOut.Add(1)
	if since == 0 {
		k.unanswered.CompareAndSwap(0, int64(now))
	}
	return n, nil
}

// move gives the association another path, if there is one that works and was not tried since the last
// answer, and returns its socket from now on.
func (k *packets) move(from *packetSocket) *packetSocket {
	to := k.nextPath(from)
	if to == nil {
		return from
	}
	limit := max(packetSilence, slowRTTs*to.Health.Status(time.Now()).RTT)
	ctx, cancel := context.WithTimeout(k.ctx, limit)
	defer cancel()
	to.dial(1)
	defer to.dial(-1)
	conn, err := to.Dialer.ListenPacket(ctx)
	if err != nil {
		if k.ctx.Err() == nil && !health.IsLocal(err) {
			k.group.failed(to, err)
		}
		return from
	}
	h := &packetSocket{PacketConn: conn, path: to}
	to.enter(k)
	if !k.settle(h, from) {
		to.exit(k)
		_ = conn.Close()
		return from
	}
	from.path.exit(k)
	k.group.log.Debug("association moved", "upstream", to.name, "from", from.path.name)
	_ = from.Close() // and whoever reads from it goes on with the next
	return h
}

// settle makes h the socket in use, unless the association was closed, or answered after all.
func (k *packets) settle(h, from *packetSocket) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.unanswered.Load() == 0 {
		return false
	}
	k.home.Store(h)
	k.silent, k.moved = from.path, time.Since(k.began)
	return true
}

func (k *packets) nextPath(from *packetSocket) *path[transport.PacketListener] {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.silent != nil { // no answer on the path after it either
		k.bePatient()
	}
	for _, p := range k.group.lineup.Load().alternatives(now, from.path) {
		if p.usable(now) && !slices.Contains(k.tried, p) {
			k.tried = append(k.tried, p)
			return p
		}
	}
	return nil
}

// ReadFrom implements net.PacketConn.
func (k *packets) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		h := k.home.Load()
		n, addr, err := h.ReadFrom(p)
		if err == nil {
			h.path.Counters.received(n)
			h.path.Counters.PacketsIn.Add(1)
			k.answer(h)
			return n, addr, nil
		}
		if !k.hasMoved(h) {
			k.broke(h, err)
			return n, addr, err
		}
	}
}

// WaitRead implements transport.WaitReader.
func (k *packets) WaitRead() error {
	for {
		h := k.home.Load()
		err := waitPacket(h.PacketConn)
		if err == nil {
			return nil
		}
		if !k.hasMoved(h) {
			k.broke(h, err)
			return err
		}
	}
}

func waitPacket(conn net.PacketConn) error {
	if w, ok := conn.(transport.WaitReader); ok {
		return w.WaitRead()
	}
	return nil
}

func (k *packets) hasMoved(from *packetSocket) bool { return k.home.Load() != from }

// answer books a packet that came.
func (k *packets) answer(h *packetSocket) {
	k.unanswered.Store(0)
	now := time.Since(k.began)
	if h.answered.Load() && now-time.Duration(k.booked.Load()) < answerEvery {
		return
	}
	h.answered.Store(true)
	k.booked.Store(int64(now))
	h.path.Health.Answered(k.began.Add(now))
	k.mu.Lock()
	if k.silent == h.path { // it was not: the answer was on its way
		k.silent = nil
	}
	silent := k.silent
	prompt := now-k.moved < promptAnswer
	if silent != nil && !prompt {
		k.bePatient()
	}
	k.tried = append(k.tried[:0], h.path)
	k.silent = nil
	k.mu.Unlock()
	if silent != nil && prompt {
		k.patience.Store(int64(packetSilence))
		k.group.failed(silent, ErrSilent)
	}
}

// bePatient takes note that a silence was the targets' fault. The caller holds mu.
func (k *packets) bePatient() {
	k.silent = nil
	k.patience.Store(min(2*k.patience.Load(), int64(maxPacketSilence)))
}

// broke books how a connection failed under an association. Servers end those that are idle, or once a lone
// query was answered; anything else has the path probed soon.
func (k *packets) broke(h *packetSocket, err error) {
	since := time.Duration(k.unanswered.Load())
	atOnce := since > 0 && time.Since(k.began)-since < packetSilence
	switch {
	case errors.Is(err, net.ErrClosed):
	case err != io.EOF: //nolint:errorlint // a wrapped EOF is no clean end
		k.group.options().Trouble(h.path.Health)
	case atOnce && !h.answered.Load():
		k.group.failed(h.path, errRefused)
	}
}

// Close implements net.PacketConn.
func (k *packets) Close() error {
	k.mu.Lock()
	k.closed = true
	h := k.home.Load()
	k.mu.Unlock()
	k.stop()
	h.path.exit(k)
	return h.Close()
}

// leave implements flow: the next packet does it.
func (k *packets) leave() {}

// reset implements flow.
func (k *packets) reset() { _ = k.Close() }

// Abort implements transport.Aborter. Datagrams have no failed end: it is the same as Close.
func (k *packets) Abort() error { return k.Close() }

// LocalAddr implements net.PacketConn.
func (k *packets) LocalAddr() net.Addr { return k.home.Load().LocalAddr() }

// SetDeadline implements net.PacketConn, for the path of the moment, as do the others.
func (k *packets) SetDeadline(t time.Time) error { return k.home.Load().SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (k *packets) SetReadDeadline(t time.Time) error { return k.home.Load().SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (k *packets) SetWriteDeadline(t time.Time) error { return k.home.Load().SetWriteDeadline(t) }
