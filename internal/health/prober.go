package health

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Path is a path to probe.
type Path struct {
	Name   string // of the upstream
	Proto  string // "tcp" or "udp"; paths of one protocol stand in for each other
	Record *Record
	Probe  Probe
}

// Result is how one probe ended.
type Result struct {
	RTT           time.Duration // of the exchange, if it passed
	Took          time.Duration // all of it
	Err           error         // nil = it passed; else a *StageError, if the Probe makes them
	Excused       bool          // it failed and did not count
	Before, After Status
}

// Prober probes paths until it is told to stop. Fields must not change once Run or Soon was called.
type Prober struct {
	Paths    []Path
	Schedule Schedule
	Timeout  time.Duration // of a whole probe; 0 = its own
	Limit    int           // on probes of paths that are well, and on those of the others; 0 = 32
	Logger   *slog.Logger  // nil = no log
	// OnResult, if set, is told of every probe. Calls for one path come one after the other.
	OnResult func(i int, r Result)

	setup  sync.Once
	judge  *judge
	lanes  lanes
	wake   []chan struct{} // by path; has room for one
	clocks []clock         // by path; its own goroutine's
}

// clock is what the next interval of a path depends on.
type clock struct {
	pace     pace
	interval time.Duration // the current one, without jitter
	offline  bool
	ended    time.Time // of the last probe
}

func (p *Prober) init() {
	p.setup.Do(func() {
		p.judge = newJudge(p.Paths, p.Schedule.MinInterval)
		p.lanes = newLanes(p.Limit)
		p.clocks = make([]clock, len(p.Paths))
		for range p.Paths {
			p.wake = append(p.wake, make(chan struct{}, 1))
		}
		if p.Logger == nil {
			p.Logger = slog.New(slog.DiscardHandler)
		}
	})
}

// Run probes every path at once and then by the schedule, until ctx ends. It returns nil when all probes have
// ended, without regard to what those found that ctx ended. It may run again then, as if for the first time.
func (p *Prober) Run(ctx context.Context) error {
	p.init()
	clear(p.clocks)
	var running sync.WaitGroup
	for i := range p.Paths {
		running.Go(func() { p.watch(ctx, i) })
	}
	running.Wait()
	return nil
}

// Soon has path i probed without waiting for its interval, because a flow met trouble on it. It never blocks,
// and however often it is called, MinInterval passes between probes.
func (p *Prober) Soon(i int) {
	p.init()
	select {
	case p.wake[i] <- struct{}{}:
	default: // it will be soon already
	}
}

// watch probes one path again and again.
func (p *Prober) watch(ctx context.Context, i int) {
	wait := p.jitter()
	for p.sleep(ctx, i, wait) && p.probe(ctx, i) {
		wait = p.clocks[i].interval + p.jitter()
	}
}

func (p *Prober) jitter() time.Duration {
	if p.Schedule.Jitter <= 0 {
		return 0
	}
	return rand.N(p.Schedule.Jitter + 1) //nolint:gosec // spreads load, hides nothing
}

// sleep waits for the next probe of path i, or less if it is wanted sooner. It returns false when ctx ends.
func (p *Prober) sleep(ctx context.Context, i int, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-p.wake[i]:
	}
	pause := p.Schedule.MinInterval
	if p.clocks[i].offline {
		pause = p.Schedule.Interval // nothing comes of haste
	}
	timer.Reset(time.Until(p.clocks[i].ended.Add(pause)))
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// probe probes path i and sets its next interval. It returns false when ctx ended first.
func (p *Prober) probe(ctx context.Context, i int) bool {
	path := &p.Paths[i]
	leave, ok := p.lanes.enter(ctx, path.Record.Status(time.Now()))
	if !ok {
		return false
	}
	defer leave()
	probing, cancel := within(ctx, p.Timeout)
	defer cancel()
	began := time.Now()
	rtt, err := path.Probe(probing)
	if ctx.Err() != nil {
		return false
	}
	now := time.Now()
	r := Result{RTT: rtt, Took: now.Sub(began), Err: err, Before: path.Record.Status(now)}
	r.Excused = p.record(i, began, now, r)
	r.After = path.Record.Status(now)
	p.plan(i, r)
	p.report(i, r)
	return true
}

// record enters a result into the memory of its path. It reports whether a failure did not count.
func (p *Prober) record(i int, began, now time.Time, r Result) bool {
	record := p.Paths[i].Record
	if r.Err == nil {
		p.judge.pass(i, now)
		record.Success(now, r.RTT)
		return false
	}
	if IsLocal(r.Err) {
		return true
	}
	v := p.judge.fail(i, began, now, stageOf(r.Err))
	switch v {
	case guilty:
		record.Failure(now, r.Err)
		if witness, ok := p.judge.witness(i, began, now); ok && r.Before.State != Down {
			p.Soon(witness)
		}
	case cleared:
		record.Excuse()
	default:
	}
	return v != guilty
}

// plan sets the next interval. When the last eligible path of a protocol went down, those that were down
// before are the last hope and stop taking their time.
func (p *Prober) plan(i int, r Result) {
	outlook := p.outlook(i, r)
	c := &p.clocks[i]
	pace := p.Schedule.pace(r.After)
	if pace != c.pace {
		c.interval = 0
	}
	c.pace, c.offline, c.ended = pace, outlook == Offline, r.After.At
	c.interval = p.Schedule.Next(r.After, c.interval, outlook)
	if outlook != Covered && r.Before.State != Down && r.After.State == Down {
		for k := range p.Paths {
			if k != i && p.Paths[k].Proto == p.Paths[i].Proto {
				p.Soon(k)
			}
		}
	}
}

func (p *Prober) outlook(i int, r Result) Outlook {
	covered := p.covered(i, r.After.At)
	switch {
	case r.Err != nil && (IsLocal(r.Err) || IsNoNetwork(r.Err) && !covered):
		return Offline
	case covered:
		return Covered
	}
	return LastHope
}

// covered reports whether a path of the protocol of path i other than that is eligible.
func (p *Prober) covered(i int, now time.Time) bool {
	for k := range p.Paths {
		if k != i && p.Paths[k].Proto == p.Paths[i].Proto && p.Paths[k].Record.Status(now).Eligible() {
			return true
		}
	}
	return false
}

// report tells what happened: a line for a change, and detail for those who debug.
func (p *Prober) report(i int, r Result) {
	path := &p.Paths[i]
	log := p.Logger.With("upstream", path.Name, "proto", path.Proto)
	if r.Err != nil {
		log.Debug("probe failed", "stage", stageOf(r.Err).String(), "err", r.Err, "excused", r.Excused)
	} else {
		log.Debug("probe passed", "rtt", r.RTT, "dur", r.Took)
	}
	switch {
	case r.Before.State == r.After.State:
	case r.After.State == Down:
		log.Warn("upstream down", "stage", stageOf(r.Err).String(), "err", r.Err)
	case r.After.State == Up:
		log.Info("upstream up", "rtt", r.After.RTT)
	}
	if p.OnResult != nil {
		p.OnResult(i, r)
	}
}
