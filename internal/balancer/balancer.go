package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// ErrNoUpstream says that no upstream carries the protocol of a flow, or that none could be reached.
var ErrNoUpstream = errors.New("no upstream")

// Member is one upstream.
type Member struct {
	Name   string
	Weight float64 // scores are divided by it
	Stream *Path[transport.StreamDialer]
	Packet *Path[transport.PacketListener]
}

// Path is an upstream over one protocol. A Member that does not carry a protocol has no Path for it.
type Path[D any] struct {
	Dialer D
	Fresh  D              // the same without connections that were opened ahead of need
	Health *health.Record // what is known of it
	Keep   func(n int)    // told how many connections to have ready; nil: nobody is
	// Failed is told of the failures that flows met on the path; nil: nobody is.
	Failed   func(err error)
	Counters *Counters // nil: nobody reads them
	// Gone is told once that an Update has taken the path out and its last flow has ended; nil: nobody is.
	Gone func()
}

// Options are the choices of a Balancer. The zero value switches on nothing that can be switched off.
type Options struct {
	StickyTTL time.Duration // stay with the current upstream for so long
	MinSwitch time.Duration // gain in score that is worth a switch
	Standby   int           // connections to keep ready for each protocol
	Affinity  Affinity
	CloseOld  bool // reset the flows on an upstream that goes down
	Failover  Failover
	Logger    *slog.Logger // nil logs nothing
	// Trouble is told that a flow met trouble on the path with that record; nil: nobody is.
	Trouble func(*health.Record)
}

// Failover is how a flow is saved before the first byte of its answer.
type Failover struct {
	Silence  time.Duration // for so long a path may leave a flow without an answer; 0 = for ever
	Hedge    time.Duration // the same for every flow, to be faster and not to be saved; 0 = off
	Deadline time.Duration // after that no further path is tried; 0 = never
	Replay   Replay
}

// patience is how long a path has for itself.
func (f Failover) patience() time.Duration {
	if f.Hedge > 0 && (f.Silence <= 0 || f.Hedge < f.Silence) {
		return f.Hedge
	}
	return f.Silence
}

// Protocols, as logs and decisions name them.
const (
	TCP = "tcp"
	UDP = "udp"
)

// Balancer opens flows on the best of its members. Run must be running for what does not come from flows.
type Balancer struct {
	streams *group[transport.StreamDialer]
	packets *group[transport.PacketListener]
	wishing sync.Mutex    // one wish after the other
	rounds  atomic.Uint64 // of Run
}

var (
	_ transport.StreamDialer   = (*Balancer)(nil)
	_ transport.PacketListener = (*Balancer)(nil)
)

// New returns a balancer over members, in the order that decides where nothing else does.
func New(members []Member, o Options) *Balancer {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Balancer{
		streams: newGroup[transport.StreamDialer](TCP, log),
		packets: newGroup[transport.PacketListener](UDP, log),
	}
	b.Update(members, o)
	return b
}

// Update replaces the members and the options, but for the logger. A path whose health record is among those
// before stays what it is, with its flows, standby and homes. Flows on the others go on until they end.
func (b *Balancer) Update(members []Member, o Options) {
	if o.Trouble == nil {
		o.Trouble = func(*health.Record) {}
	}
	streams := &lineup[transport.StreamDialer]{options: o}
	packets := &lineup[transport.PacketListener]{options: o}
	for _, m := range members {
		if m.Stream != nil {
			streams.paths = append(streams.paths, newPath(m, *m.Stream))
		}
		if m.Packet != nil {
			packets.paths = append(packets.paths, newPath(m, *m.Packet))
		}
	}
	b.streams.update(streams)
	b.packets.update(packets)
}

// CarriesPackets reports whether any member carries UDP.
func (b *Balancer) CarriesPackets() bool { return len(b.packets.lineup.Load().paths) > 0 }

// DialStream implements transport.StreamDialer. The stream is saved from the failure of its upstream until
// its first byte of an answer.
func (b *Balancer) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	g := b.streams
	began := time.Now()
	p, key := g.pick(ctx, addr, began)
	if p == nil {
		return nil, fmt.Errorf("%w carries %s", ErrNoUpstream, g.proto)
	}
	dial := func(ctx context.Context, d transport.StreamDialer) (transport.StreamConn, error) {
		return d.DialStream(ctx, addr)
	}
	conn, p, err := open(ctx, g, p, dial)
	if err != nil {
		return nil, err
	}
	defer p.dial(-1)
	g.stay(key, p, began)
	return newStream(g, p, conn, addr, began), nil
}

// ListenPacket implements transport.PacketListener.
func (b *Balancer) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	g := b.packets
	now := time.Now()
	p, key := g.pick(ctx, "", now)
	if p == nil {
		return nil, fmt.Errorf("%w carries %s", ErrNoUpstream, g.proto)
	}
	listen := func(ctx context.Context, l transport.PacketListener) (net.PacketConn, error) {
		return l.ListenPacket(ctx)
	}
	conn, p, err := open(ctx, g, p, listen)
	if err != nil {
		return nil, err
	}
	defer p.dial(-1)
	g.stay(key, p, now)
	return newPackets(g, p, conn), nil
}

// lookEvery is how often the paths are looked at without a flow that asks.
const lookEvery = 250 * time.Millisecond

// Run looks after the choice and the standby until ctx ends.
func (b *Balancer) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		b.streams.tend(time.Now())
		b.packets.tend(time.Now())
		b.rounds.Add(1)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Rounds counts how often Run has looked after everything, which shows that it goes on.
func (b *Balancer) Rounds() uint64 { return b.rounds.Load() }

// Close waits for the dials that flows have left behind.
func (b *Balancer) Close() error {
	b.streams.close()
	b.packets.close()
	return nil
}
