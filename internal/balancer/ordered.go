package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// ErrNoUpstream says that no upstream carries the protocol of a flow, or that none could be reached.
var ErrNoUpstream = errors.New("no upstream")

// Member is one upstream. One that does not carry TCP has no Stream, and one that does not carry UDP no
// Packet.
type Member struct {
	Name   string
	Stream transport.StreamDialer
	Packet transport.PacketListener
}

// Ordered opens flows on the first member in its order that can be reached. A member that just failed stays
// out for the cooldown, unless all have; TCP and UDP are apart.
type Ordered struct {
	streams group[transport.StreamDialer]
	packets group[transport.PacketListener]
}

var (
	_ transport.StreamDialer   = (*Ordered)(nil)
	_ transport.PacketListener = (*Ordered)(nil)
)

// NewOrdered returns a balancer over members in the order of preference. Without a log it logs nothing.
func NewOrdered(members []Member, cooldown time.Duration, log *slog.Logger) *Ordered {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	o := &Ordered{
		streams: group[transport.StreamDialer]{proto: "tcp", cooldown: cooldown, log: log},
		packets: group[transport.PacketListener]{proto: "udp", cooldown: cooldown, log: log},
	}
	for _, m := range members {
		if m.Stream != nil {
			o.streams.add(m.Name, m.Stream)
		}
		if m.Packet != nil {
			o.packets.add(m.Name, m.Packet)
		}
	}
	return o
}

// CarriesPackets reports whether any member carries UDP.
func (o *Ordered) CarriesPackets() bool { return len(o.packets.paths) > 0 }

// DialStream implements transport.StreamDialer.
func (o *Ordered) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	return first(ctx, &o.streams, func(d transport.StreamDialer) (transport.StreamConn, error) {
		return d.DialStream(ctx, addr)
	})
}

// ListenPacket implements transport.PacketListener.
func (o *Ordered) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	return first(ctx, &o.packets, func(l transport.PacketListener) (net.PacketConn, error) {
		return l.ListenPacket(ctx)
	})
}

// path is one member over one protocol.
type path[D any] struct {
	name    string
	dialer  D
	coolTil time.Time // guarded by the group
}

// group is the members that carry one protocol.
type group[D any] struct {
	proto    string
	cooldown time.Duration
	log      *slog.Logger
	paths    []*path[D]

	mu sync.Mutex
}

func (g *group[D]) add(name string, dialer D) {
	g.paths = append(g.paths, &path[D]{name: name, dialer: dialer})
}

// order returns the paths to try: those that are not cooling, then the others, because a last hope beats
// none.
func (g *group[D]) order(now time.Time) []*path[D] {
	g.mu.Lock()
	defer g.mu.Unlock()
	eligible := make([]*path[D], 0, len(g.paths))
	var cooling []*path[D]
	for _, p := range g.paths {
		if p.coolTil.After(now) {
			cooling = append(cooling, p)
		} else {
			eligible = append(eligible, p)
		}
	}
	return append(eligible, cooling...)
}

// failed lets a path cool down. Only the change is worth a line: the flow that fails on all has one of its
// own.
func (g *group[D]) failed(p *path[D], err error) {
	now := time.Now()
	g.mu.Lock()
	level := slog.LevelDebug
	if p.coolTil.IsZero() {
		level = slog.LevelWarn
	}
	p.coolTil = now.Add(g.cooldown)
	g.mu.Unlock()
	g.log.Log(context.Background(), level, "upstream unreachable",
		"upstream", p.name, "proto", g.proto, "err", err)
}

func (g *group[D]) reached(p *path[D]) {
	g.mu.Lock()
	was := p.coolTil
	p.coolTil = time.Time{}
	g.mu.Unlock()
	if !was.IsZero() {
		g.log.Info("upstream reached again", "upstream", p.name, "proto", g.proto)
	}
}

// first opens a connection on the first path that can be reached.
func first[D, C any](ctx context.Context, g *group[D], dial func(D) (C, error)) (C, error) {
	var none C
	if len(g.paths) == 0 {
		return none, fmt.Errorf("%w carries %s", ErrNoUpstream, g.proto)
	}
	var errs []error
	for _, p := range g.order(time.Now()) {
		conn, err := dial(p.dialer)
		if err == nil {
			g.reached(p)
			return conn, nil
		}
		if ctx.Err() != nil { // the client's doing, not the upstream's
			return none, context.Cause(ctx)
		}
		if !isLocal(err) {
			g.failed(p, err)
		}
		errs = append(errs, err)
	}
	return none, &unreachedError{errs}
}

// isLocal reports whether a failure is this host's own, and says nothing of an upstream: no more descriptors,
// memory or ports, or no permission.
func isLocal(err error) bool {
	for _, errno := range [...]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL, syscall.EPERM,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// unreachedError is ErrNoUpstream with what every member said, on one line.
type unreachedError struct{ errs []error }

func (e *unreachedError) Error() string {
	causes := make([]string, 0, len(e.errs))
	for _, err := range e.errs {
		causes = append(causes, err.Error())
	}
	return fmt.Sprintf("%v reached: %s", ErrNoUpstream, strings.Join(causes, "; "))
}

func (e *unreachedError) Unwrap() []error {
	return append(e.errs[:len(e.errs):len(e.errs)], ErrNoUpstream)
}
