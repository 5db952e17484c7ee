package balancer

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// path is one member over a group's protocol.
type path[D any] struct {
	Path[D]
	name   string
	weight weight
	wish   wish
	left   atomic.Bool // flows that can move elsewhere should
	lost   bool        // it is down besides; guarded by the group's lock

	keeping sync.Mutex // held during Keep, so that of two orders the later one is in force
	kept    int        // what Keep was told last; never again once it is negative

	mu      sync.Mutex
	flows   map[flow]struct{} // open on it
	dials   int               // under way
	retired bool
	gone    bool // Gone was called
}

// flow is one that is open on a path.
type flow interface {
	// leave is told that the path is left for one that works.
	leave()
	// reset is told that the path is down, and its flows are not to wait for what comes of that.
	reset()
}

// weight is a float64 that can be replaced.
type weight struct{ bits atomic.Uint64 }

func (w *weight) Store(v float64) { w.bits.Store(math.Float64bits(v)) }
func (w *weight) Load() float64   { return math.Float64frombits(w.bits.Load()) }

func newPath[D any](m Member, p Path[D]) *path[D] {
	n := &path[D]{Path: p, name: m.Name, flows: make(map[flow]struct{})}
	if n.Health == nil {
		n.Health = health.NewRecord(health.Policy{})
	}
	if n.Counters == nil {
		n.Counters = new(Counters)
	}
	n.weight.Store(m.Weight)
	if m.Weight <= 0 {
		n.weight.Store(1)
	}
	return n
}

func (p *path[D]) view(now time.Time) view {
	return viewOf(p.Health.Status(now), p.weight.Load(), p.wish.Load())
}

// usable reports whether flows may be given to the path, and it is known to work as far as anything is.
func (p *path[D]) usable(now time.Time) bool { return p.view(now).usable() }

// keep passes on how many connections to have ready. A negative number is the last word, for none.
func (p *path[D]) keep(n int) {
	p.keeping.Lock()
	defer p.keeping.Unlock()
	before := p.kept
	if before < 0 || before == n {
		return
	}
	p.kept = n
	if p.Keep != nil && max(n, 0) != before {
		p.Keep(max(n, 0))
	}
}

// enter counts a flow on the path, and exit one that has left it.
func (p *path[D]) enter(f flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows[f] = struct{}{}
	p.Counters.Selected.Add(1)
}

func (p *path[D]) exit(f flow) {
	p.mu.Lock()
	delete(p.flows, f)
	p.unlockIdle()
}

// dial counts a dial that begins, or with -1 one whose connection has become a flow, or nothing.
func (p *path[D]) dial(n int) {
	p.mu.Lock()
	p.dials += n
	p.unlockIdle()
}

// retire takes the path out for good: when its last flow has ended, Gone is called.
func (p *path[D]) retire() {
	p.left.Store(true)
	p.keep(-1)
	p.mu.Lock()
	p.retired = true
	p.unlockIdle()
}

// unlockIdle unlocks mu, and says that the path is gone if it is retired and nobody is on it any more.
func (p *path[D]) unlockIdle() {
	over := p.retired && !p.gone && p.dials == 0 && len(p.flows) == 0
	p.gone = p.gone || over
	p.mu.Unlock()
	if over && p.Gone != nil {
		p.Gone()
	}
}

// open returns the flows on the path.
func (p *path[D]) open() []flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.flows))
}
