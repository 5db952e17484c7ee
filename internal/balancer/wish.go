package balancer

import (
	"errors"
	"sync/atomic"
	"time"
)

// Wish is what somebody wants of a member beyond what the scores say.
type Wish uint32

// The wishes.
const (
	NoWish    Wish = iota
	Preferred      // new flows go over it while it is eligible; there is one at the most
	Drained        // it gets no new flows, and those that it has go on
)

// What Wish may answer.
var (
	ErrUnknownMember = errors.New("no member of that name")
	ErrLastMember    = errors.New("it is the last one that may get new flows")
)

// wish is a Wish that can be replaced.
type wish struct{ value atomic.Uint32 }

func (w *wish) Store(v Wish) { w.value.Store(uint32(v)) }
func (w *wish) Load() Wish   { return Wish(w.value.Load()) }

// Wish says what is wanted of a member over every protocol that it carries. It stays until another Wish, or
// until an Update without that member. A member that is the last one over a protocol cannot be drained.
func (b *Balancer) Wish(name string, w Wish) error {
	b.wishing.Lock()
	defer b.wishing.Unlock()
	streams, packets := b.streams.lineup.Load().named(name), b.packets.lineup.Load().named(name)
	if streams == nil && packets == nil {
		return ErrUnknownMember
	}
	if w == Drained && (b.streams.isLast(streams) || b.packets.isLast(packets)) {
		return ErrLastMember
	}
	b.streams.wish(streams, w)
	b.packets.wish(packets, w)
	return nil
}

// named returns the path of a member, or nil.
func (l *lineup[D]) named(name string) *path[D] {
	for _, p := range l.paths {
		if p.name == name {
			return p
		}
	}
	return nil
}

// isLast reports whether all other paths are drained. A nil path is not the last.
func (g *group[D]) isLast(p *path[D]) bool {
	for _, other := range g.lineup.Load().paths {
		if other != p && other.wish.Load() != Drained {
			return false
		}
	}
	return p != nil
}

// wish sets a wish for a path, if it is one, and looks at once what follows.
func (g *group[D]) wish(p *path[D], w Wish) {
	for _, other := range g.lineup.Load().paths {
		if w == Preferred && other.wish.Load() == Preferred {
			other.wish.Store(NoWish)
		}
	}
	if p != nil {
		p.wish.Store(w)
	}
	g.look(time.Now())
}

// isPreferred reports whether there is a path that somebody prefers and that can be used.
func (l *lineup[D]) isPreferred(now time.Time) bool {
	for _, p := range l.paths {
		if p.wish.Load() == Preferred && p.view(now).preferred() {
			return true
		}
	}
	return false
}

// release takes back what would leave no path at all.
func (l *lineup[D]) release() {
	for _, p := range l.paths {
		if p.wish.Load() != Drained {
			return
		}
	}
	for _, p := range l.paths {
		p.wish.Store(NoWish)
	}
}
