package balancer

import (
	"slices"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// PathStatus is a path at one moment.
type PathStatus struct {
	Name    string // of the member
	Proto   string
	Health  *health.Record // by which the path is known
	Status  health.Status
	Score   time.Duration
	Usable  bool // flows may be given to it
	Current bool // new flows go over it
	Wish    Wish
	Flows   int // open on it
}

// Paths returns the paths of all members, those of TCP first.
func (b *Balancer) Paths(now time.Time) []PathStatus {
	return append(b.streams.status(now), b.packets.status(now)...)
}

func (g *group[D]) status(now time.Time) []PathStatus {
	g.mu.Lock()
	l, current := g.lineup.Load(), g.choice.current
	g.mu.Unlock()
	all := make([]PathStatus, 0, len(l.paths))
	for i, p := range l.paths {
		known := p.Health.Status(now)
		v := viewOf(known, p.weight.Load(), p.wish.Load())
		p.mu.Lock()
		flows := len(p.flows)
		p.mu.Unlock()
		all = append(all, PathStatus{
			Name: p.name, Proto: g.proto, Health: p.Health, Status: known, Score: v.score,
			Usable: v.usable(), Wish: v.wish, Current: i == current, Flows: flows,
		})
	}
	return all
}

// Usable reports whether any path over a protocol is known to work, as far as anything is. A path that no
// probe has judged counts however it fared: where there are no probes, nobody would say that it works again,
// and one failure would shut everybody out until it has cooled down.
func (b *Balancer) Usable(proto string) bool {
	now := time.Now()
	if proto == UDP {
		return b.packets.lineup.Load().usable(now)
	}
	return b.streams.lineup.Load().usable(now)
}

// CurrentPackets is the record of the path that new associations go over; nil: there is none.
func (b *Balancer) CurrentPackets() *health.Record {
	if p := b.packets.current(time.Now()); p != nil {
		return p.Health
	}
	return nil
}

func (l *lineup[D]) usable(now time.Time) bool {
	return slices.ContainsFunc(l.paths, func(p *path[D]) bool {
		v, s := p.view(now), p.Health.Status(now)
		return v.usable() || s.State == health.Unknown && !v.drained()
	})
}

// Decisions returns the last switches of both protocols, oldest first.
func (b *Balancer) Decisions() []Decision {
	all := append(b.streams.decisions.list(), b.packets.decisions.list()...)
	slices.SortStableFunc(all, func(x, y Decision) int { return x.Time.Compare(y.Time) })
	return all
}

// Switches counts the switches of a protocol by reason, for every reason that there is.
func (b *Balancer) Switches(proto string) map[Reason]uint64 {
	if proto == UDP {
		return b.packets.decisions.counts()
	}
	return b.streams.decisions.counts()
}
