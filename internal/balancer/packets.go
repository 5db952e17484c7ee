package balancer

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	// packetSilence is for how long all that an association sends may stay unanswered. Applications repeat a
	// lost packet within a second or two.
	packetSilence = 3 * time.Second
	// answerEvery is how often the answers of an association are booked.
	answerEvery = time.Second
)

// errMoved is what the packets of an association meet on a path that cannot be used any more.
var errMoved = errors.New("the upstream of this association was left for another")

// packets is the upstream socket of one association. It fails once its path is left, so that its user opens
// another one.
type packets struct {
	net.PacketConn
	group *group[transport.PacketListener]
	path  *path[transport.PacketListener]
	began time.Time

	unanswered atomic.Int64 // when something was sent first that nothing answered, since began; 0: nothing
	booked     atomic.Int64 // when an answer was last booked, since began
	answered   atomic.Bool
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
	k := &packets{PacketConn: conn, group: g, path: p, began: time.Now()}
	p.enter(k)
	return k
}

// Upstream implements transport.Carried.
func (k *packets) Upstream() string { return k.path.name }

// WriteTo implements net.PacketConn.
func (k *packets) WriteTo(p []byte, addr net.Addr) (int, error) {
	if k.path.left.Load() {
		return 0, errMoved
	}
	n, err := k.PacketConn.WriteTo(p, addr)
	if err != nil {
		return n, err
	}
	now := time.Since(k.began)
	switch since := time.Duration(k.unanswered.Load()); {
	case since == 0:
		k.unanswered.CompareAndSwap(0, int64(max(now, 1)))
	case now-since >= packetSilence:
		k.unanswered.Store(int64(now))
		k.path.Health.Stalled(k.began.Add(now), addr.String())
		k.group.options().Trouble(k.path.Health)
	}
	return n, nil
}

// ReadFrom implements net.PacketConn.
func (k *packets) ReadFrom(p []byte) (int, net.Addr, error) {
	n, addr, err := k.PacketConn.ReadFrom(p)
	if err != nil {
		k.broke(err)
		return n, addr, err
	}
	k.unanswered.Store(0)
	now := time.Since(k.began)
	if !k.answered.Load() || now-time.Duration(k.booked.Load()) >= answerEvery {
		k.answered.Store(true)
		k.booked.Store(int64(now))
		k.path.Health.Answered(k.began.Add(now))
	}
	return n, addr, nil
}

// WaitRead implements transport.WaitReader.
func (k *packets) WaitRead() error {
	w, ok := k.PacketConn.(transport.WaitReader)
	if !ok {
		return nil
	}
	err := w.WaitRead()
	if err != nil {
		k.broke(err)
	}
	return err
}

// broke has the path probed soon when its connection failed under an association. Servers end those that are
// idle, or once a lone query was answered.
func (k *packets) broke(err error) {
	if err != io.EOF && !errors.Is(err, net.ErrClosed) { //nolint:errorlint // a wrapped EOF is no clean end
		k.group.options().Trouble(k.path.Health)
	}
}

// Close implements net.PacketConn.
func (k *packets) Close() error {
	k.path.exit(k)
	return k.PacketConn.Close()
}

// Abort implements transport.Aborter. Datagrams have no failed end: it is the same as Close.
func (k *packets) Abort() error { return k.Close() }
