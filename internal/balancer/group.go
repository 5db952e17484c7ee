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
	log       *slog.Logger
	decisions decisions
	homes     homes[D]

	all     context.Context //nolint:containedctx // ends what flows leave behind
	stop    context.CancelFunc
	workers sync.WaitGroup // dials and rivals

	lineup atomic.Pointer[lineup[D]] // replaced under mu

	mu     sync.Mutex
	choice choice // among the paths of the lineup
	looked time.Time
	views  []view // of the last look
}

// lineup is what Update replaces. It does not change.
type lineup[D any] struct {
	options Options
	paths   []*path[D]
}

func (l *lineup[D]) policy() policy {
	return policy{sticky: l.options.StickyTTL, minSwitch: l.options.MinSwitch}
}

// find returns the path with that record.
func (l *lineup[D]) find(record *health.Record) *path[D] {
	for _, p := range l.paths {
		if p.Health == record {
			return p
		}
	}
	return nil
}

func newGroup[D any](proto string, log *slog.Logger) *group[D] {
	g := &group[D]{proto: proto, log: log.With("proto", proto), choice: choice{current: -1}}
	g.lineup.Store(new(lineup[D]))
	g.all, g.stop = context.WithCancel(context.Background()) //nolint:gosec // close calls it
	return g
}

// update replaces the lineup. Paths stay what they are when their records do; of the others, those that are
// new are added and those that are gone are retired.
func (g *group[D]) update(next *lineup[D]) {
	g.mu.Lock()
	before := g.lineup.Load()
	for i, p := range next.paths {
		if same := before.find(p.Health); same != nil {
			next.paths[i] = same
			same.weight.Store(p.weight.Load())
		} else if renewed := before.named(p.name); renewed != nil {
			p.wish.Store(renewed.wish.Load())
		}
	}
	next.release()
	if c := g.choice.current; c >= 0 {
		g.choice.current = slices.Index(next.paths, before.paths[c])
	}
	g.views = make([]view, len(next.paths))
	g.looked = time.Time{}
	g.lineup.Store(next)
	g.mu.Unlock()
	for _, p := range before.paths {
		if !slices.Contains(next.paths, p) {
			p.retire()
		}
	}
}

func (g *group[D]) close() {
	g.stop()
	g.workers.Wait()
}

// options are those in force.
func (g *group[D]) options() *Options { return &g.lineup.Load().options }

// pick returns the path for a new flow to addr, and the key by which to find that path again. It returns nil
// when there is none at all.
func (g *group[D]) pick(ctx context.Context, addr string, now time.Time) (*path[D], string) {
	l := g.lineup.Load()
	if len(l.paths) == 0 {
		return nil, ""
	}
	key := l.options.Affinity.key(ctx, addr)
	if key != "" {
		p := g.homes.find(key, now)
		home := p != nil && slices.Contains(l.paths, p) && p.Health.Status(now).Eligible()
		if home && p.wish.Load() != Drained && !l.isPreferred(now) {
			return p, key
		}
	}
	return g.current(now), key
}

// stay notes that flows with that key go over a path.
func (g *group[D]) stay(key string, p *path[D], now time.Time) {
	if key != "" {
		g.homes.put(key, p, now)
	}
}

// current is the best path to use; nil if there is none.
func (g *group[D]) current(now time.Time) *path[D] {
	g.mu.Lock()
	var p *path[D]
	if c := g.choice.current; c >= 0 && now.Sub(g.looked) < lookAfter {
		p = g.lineup.Load().paths[c]
	}
	g.mu.Unlock()
	if p == nil || !p.Health.Status(now).Eligible() {
		p = g.look(now)
	}
	return p
}

// look looks at all paths, switches where that is due, and returns the current path; nil if there is none.
func (g *group[D]) look(now time.Time) *path[D] {
	g.mu.Lock()
	l := g.lineup.Load()
	if len(l.paths) == 0 {
		g.mu.Unlock()
		return nil
	}
	for i, p := range l.paths {
		g.views[i] = p.view(now)
	}
	before := g.choice.current
	var reason Reason
	g.choice, reason = g.choice.next(now, g.views, l.policy())
	g.looked = now
	var d Decision
	if reason != "" {
		d = g.decide(now, before, reason)
	}
	left, lost := g.leave()
	current := l.paths[g.choice.current]
	g.mu.Unlock()
	if reason != "" {
		g.decisions.add(d)
		g.log.Info("upstream switched", d.attrs()...)
	}
	for _, p := range left {
		for _, f := range p.open() {
			f.leave()
		}
	}
	if l.options.CloseOld {
		g.reset(lost)
	}
	return current
}

// tend looks at all paths and tells them how many connections to have ready.
func (g *group[D]) tend(now time.Time) {
	if g.look(now) == nil {
		return
	}
	g.mu.Lock()
	l := g.lineup.Load()
	keep := share(l.options.Standby, g.views)
	g.mu.Unlock()
	for i, p := range l.paths {
		p.keep(keep[i])
	}
}

// decide describes a switch. The caller holds mu.
func (g *group[D]) decide(now time.Time, before int, reason Reason) Decision {
	paths, to := g.lineup.Load().paths, g.choice.current
	d := Decision{Time: now, Proto: g.proto, Reason: reason, To: paths[to].name, ToScore: g.views[to].score}
	if before >= 0 {
		d.From, d.FromScore = paths[before].name, g.views[before].score
	}
	return d
}

// leave has the flows that can do so leave the paths that cannot be used, if there is one that can. It
// returns those for which that is new, and those that are down for which that is new. The caller holds mu.
func (g *group[D]) leave() (left, lost []*path[D]) {
	current := g.views[g.choice.current].rank
	for i, p := range g.lineup.Load().paths {
		leave := current.usable() && g.views[i].rank > current
		if was := p.left.Swap(leave); leave && !was {
			left = append(left, p)
		}
		was := p.lost
		p.lost = leave && g.views[i].rank == down
		if p.lost && !was {
			lost = append(lost, p)
		}
	}
	return left, lost
}

// reset resets the flows on paths that went down. Where flows merely failed, the others may live.
func (g *group[D]) reset(lost []*path[D]) {
	for _, p := range lost {
		flows := p.open()
		for _, f := range flows {
			f.reset()
		}
		if len(flows) > 0 {
			g.log.Info("flows on the upstream reset", "upstream", p.name, "flows", len(flows))
		}
	}
}

// alternatives returns the other paths that may get new flows, the best first.
func (l *lineup[D]) alternatives(now time.Time, to *path[D]) []*path[D] {
	views := make(map[*path[D]]view, len(l.paths))
	rest := make([]*path[D], 0, len(l.paths))
	for _, p := range l.paths {
		if p != to && p.wish.Load() != Drained {
			views[p], rest = p.view(now), append(rest, p)
		}
	}
	slices.SortStableFunc(rest, func(a, b *path[D]) int { return views[a].compare(views[b]) })
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
	if p.Failed != nil {
		p.Failed(err)
	}
	g.options().Trouble(p.Health)
}
