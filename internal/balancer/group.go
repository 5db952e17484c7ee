package balancer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// lookAfter is how old a look at all paths may be when a flow picks. In between the current path stays,
// unless it cannot be used any more.
const lookAfter = 100 * time.Millisecond

// group is the paths that carry one protocol.
type group[D any] struct {
	proto     string
	options   Options
	policy    policy
	log       *slog.Logger
	paths     []*path[D]
	decisions decisions
	homes     homes

	all     context.Context //nolint:containedctx // ends what flows leave behind
	stop    context.CancelFunc
	workers sync.WaitGroup // dials and rivals

	mu     sync.Mutex
	choice choice
	looked time.Time
	views  []view // of the last look
}

// path is one member over the group's protocol.
type path[D any] struct {
	Path[D]
	name   string
	weight float64
	place  int
	left   atomic.Bool // flows that can move elsewhere should
	kept   int         // what Keep was told last; of tend alone

	mu    sync.Mutex
	flows map[closer]struct{} // open on it
}

// closer is a flow that can be reset.
type closer interface{ Abort() error }

func newGroup[D any](proto string, o Options) *group[D] {
	g := &group[D]{
		proto:   proto,
		options: o,
		policy:  policy{sticky: o.StickyTTL, minSwitch: o.MinSwitch},
		log:     o.Logger.With("proto", proto),
		choice:  choice{current: -1},
	}
	g.all, g.stop = context.WithCancel(context.Background()) //nolint:gosec // close calls it
	return g
}

func (g *group[D]) add(m Member, p Path[D]) {
	if m.Weight <= 0 {
		m.Weight = 1
	}
	if p.Health == nil {
		p.Health = health.NewRecord(health.Policy{})
	}
	g.paths = append(g.paths, &path[D]{
		Path: p, name: m.Name, weight: m.Weight, place: len(g.paths), flows: make(map[closer]struct{}),
	})
	g.views = append(g.views, view{})
}

func (g *group[D]) close() {
	g.stop()
	g.workers.Wait()
}

// pick returns the path for a new flow to addr, and the key by which to find that path again. It returns nil
// when there is none at all.
func (g *group[D]) pick(ctx context.Context, addr string, now time.Time) (*path[D], string) {
	if len(g.paths) == 0 {
		return nil, ""
	}
	key := g.options.Affinity.key(ctx, addr)
	if key != "" {
		if place, ok := g.homes.find(key, now); ok && g.paths[place].Health.Status(now).Eligible() {
			return g.paths[place], key
		}
	}
	return g.current(now), key
}

// stay notes that flows with that key go over a path.
func (g *group[D]) stay(key string, p *path[D], now time.Time) {
	if key != "" {
		g.homes.put(key, p.place, now)
	}
}

// current is the best path to use.
func (g *group[D]) current(now time.Time) *path[D] {
	g.mu.Lock()
	c := g.choice.current
	fresh := c >= 0 && now.Sub(g.looked) < lookAfter
	g.mu.Unlock()
	if !fresh || !g.paths[c].Health.Status(now).Eligible() {
		c = g.look(now)
	}
	return g.paths[c]
}

// look looks at all paths, switches where that is due, and returns the current path's place.
func (g *group[D]) look(now time.Time) int {
	if len(g.paths) == 0 {
		return -1
	}
	g.mu.Lock()
	before := g.choice.current
	for i, p := range g.paths {
		g.views[i] = viewOf(p.Health.Status(now), p.weight)
	}
	var reason Reason
	g.choice, reason = g.choice.next(now, g.views, g.policy)
	g.looked = now
	var d Decision
	if reason != "" {
		d = g.decide(now, before, reason)
	}
	g.leave()
	current := g.choice.current
	g.mu.Unlock()
	if reason != "" {
		g.decisions.add(d)
		g.log.Info("upstream switched", d.attrs()...)
		g.switched(before, reason)
	}
	return current
}

// tend looks at all paths and tells them how many connections to have ready. Run alone calls it, so that of
// two orders the later one is in force.
func (g *group[D]) tend(now time.Time) {
	if g.look(now) < 0 {
		return
	}
	g.mu.Lock()
	keep := share(g.options.Standby, g.views)
	g.mu.Unlock()
	for i, p := range g.paths {
		if p.Keep != nil && p.kept != keep[i] {
			p.kept = keep[i]
			p.Keep(p.kept)
		}
	}
}

// decide describes a switch. The caller holds mu.
func (g *group[D]) decide(now time.Time, before int, reason Reason) Decision {
	to := g.choice.current
	d := Decision{
		Time: now, Proto: g.proto, Reason: reason, To: g.paths[to].name, ToScore: g.views[to].score,
	}
	if before >= 0 {
		d.From, d.FromScore = g.paths[before].name, g.views[before].score
	}
	return d
}

// leave has the flows that can do so leave the paths that cannot be used, if there is one that can. The
// caller holds mu.
func (g *group[D]) leave() {
	better := g.views[g.choice.current].rank == eligible
	for i, v := range g.views {
		g.paths[i].left.Store(better && v.rank != eligible)
	}
}

// switched resets the flows on the path that was left because it does not work, if the user wants that.
func (g *group[D]) switched(before int, reason Reason) {
	if !g.options.CloseOld || before < 0 || reason == ReasonBetter {
		return
	}
	p := g.paths[before]
	p.mu.Lock()
	flows := make([]closer, 0, len(p.flows))
	for f := range p.flows {
		flows = append(flows, f)
	}
	p.mu.Unlock()
	for _, f := range flows {
		_ = f.Abort()
	}
	if len(flows) > 0 {
		g.log.Info("flows on the upstream reset", "upstream", p.name, "flows", len(flows))
	}
}

// alternatives returns the places of the other paths, the best first.
func (g *group[D]) alternatives(now time.Time, to *path[D]) []*path[D] {
	views := make([]view, len(g.paths))
	rest := make([]*path[D], 0, len(g.paths)-1)
	for i, p := range g.paths {
		views[i] = viewOf(p.Health.Status(now), p.weight)
		if p != to {
			rest = append(rest, p)
		}
	}
	slices.SortStableFunc(rest, func(a, b *path[D]) int {
		switch {
		case views[a.place].better(views[b.place]):
			return -1
		case views[b.place].better(views[a.place]):
			return 1
		}
		return 0
	})
	return rest
}

// failed books the failure of a path that a flow met.
func (g *group[D]) failed(p *path[D], err error) {
	now := time.Now()
	before := p.Health.Status(now)
	p.Health.FlowFailed(now, err)
	level := slog.LevelDebug // only the change is worth a line: the flow has one of its own if it is lost
	if before.Eligible() {
		level = slog.LevelWarn
	}
	g.log.Log(context.Background(), level, "upstream failed", "upstream", p.name, "err", err)
	g.options.Trouble(p.Health)
}

func (p *path[D]) enter(f closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows[f] = struct{}{}
}

func (p *path[D]) exit(f closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flows, f)
}
