package balancer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

var start = time.Unix(1e9, 0)

var usual = policy{sticky: time.Minute, minSwitch: 20 * ms}

// scores are views of usable paths.
func scores(all ...time.Duration) []view {
	views := make([]view, len(all))
	for i, s := range all {
		views[i].score = s
	}
	return views
}

// ranked is a view of a path nobody wishes anything of.
func ranked(r rank, score time.Duration) view { return view{rank: r, score: score} }

func TestFirstChoice(t *testing.T) {
	tests := map[string]struct {
		views []view
		want  int
	}{
		"the best":                    {scores(30*ms, 20*ms, 25*ms), 1},
		"the first of equals":         {scores(20*ms, 20*ms), 0},
		"none that is down":           {[]view{ranked(down, ms), ranked(eligible, time.Second)}, 1},
		"rather cooling than down":    {[]view{ranked(down, ms), ranked(cooling, time.Second)}, 1},
		"the least bad when all are":  {[]view{ranked(down, 2*ms), ranked(down, ms)}, 1},
		"one that nobody knows, last": {scores(health.UnknownRTT, 100*ms), 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, reason := choice{current: -1}.next(start, tt.views, usual)
			if c.current != tt.want || reason != ReasonFirst {
				t.Errorf("current = %d, %q, want %d", c.current, reason, tt.want)
			}
		})
	}
}

// step is what the paths look like some time after the start.
type step struct {
	at    time.Duration
	views []view
	want  int
	why   Reason
}

func TestSwitches(t *testing.T) {
	far, near := scores(200*ms, 50*ms), scores(60*ms, 45*ms)
	closer := scores(70*ms, 45*ms)
	tests := map[string][]step{
		"at once from one that is down": {
			{0, []view{ranked(down, ms), ranked(eligible, time.Second)}, 1, ReasonDown},
		},
		"at once from one that cools": {
			{0, []view{ranked(cooling, ms), ranked(eligible, time.Second)}, 1, ReasonCooling},
		},
		"from one that cools to one whose probes pass again": {
			{0, []view{ranked(cooling, ms), ranked(recovered, time.Second)}, 1, ReasonCooling},
			{time.Second, []view{ranked(eligible, ms), ranked(recovered, time.Second)}, 0, ReasonCooling},
		},
		"never to a worse hope": {
			{0, []view{ranked(cooling, time.Second), ranked(down, ms)}, 0, ""},
		},
		"far better, once that has settled": {
			{0, far, 0, ""},
			{settleTime - 1, far, 0, ""},
			{settleTime, far, 1, ReasonBetter},
		},
		"not for less than the gain": {
			{0, near, 0, ""},
			{time.Hour, near, 0, ""},
		},
		"somewhat better, after the sticky time": {
			{0, closer, 0, ""},
			{time.Minute - 1, closer, 0, ""},
			{time.Minute, closer, 1, ReasonBetter},
		},
		"later, when there was a switch before": {
			{0, []view{ranked(down, ms), ranked(eligible, time.Second)}, 1, ReasonDown},
			{time.Second, scores(ms, time.Second), 1, ""},
			{2*time.Minute - 1, scores(ms, time.Second), 1, ""},
			{2 * time.Minute, scores(ms, time.Second), 0, ReasonBetter},
			{6*time.Minute - 1, scores(time.Second, ms), 0, ""},
			{6 * time.Minute, scores(time.Second, ms), 0, ""},
			{6*time.Minute + settleTime, scores(time.Second, ms), 1, ReasonBetter},
		},
		"a moment of doubt starts it all again": {
			{0, far, 0, ""},
			{settleTime - 1, scores(50*ms, 50*ms), 0, ""},
			{settleTime, far, 0, ""},
			{2*settleTime - 1, far, 0, ""},
			{2 * settleTime, far, 1, ReasonBetter},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			c := choice{current: 0, since: start}
			for _, s := range steps {
				var why Reason
				c, why = c.next(start.Add(s.at), s.views, usual)
				if c.current != s.want || why != s.why {
					t.Fatalf("at %v: current = %d, %q, want %d, %q", s.at, c.current, why, s.want, s.why)
				}
			}
		})
	}
}

// noisy probes two paths for ten minutes, by the usual schedule, and counts the switches between them.
func noisy(seed uint64, sample func(r *rand.Rand, path int) (rtt time.Duration, ok bool)) (switches int) {
	r := rand.New(rand.NewPCG(seed, 0))
	schedule := health.Schedule{
		Interval: 5 * time.Second, MinInterval: time.Second, MaxInterval: 30 * time.Second, Backoff: 1.6,
	}
	type path struct {
		*health.Record
		next     time.Time
		interval time.Duration
	}
	var paths [2]path
	for i := range paths {
		paths[i] = path{next: start, Record: health.NewRecord(health.Policy{
			FailThreshold: 2, SuccessThreshold: 1, Cooldown: cooldown, MaxInterval: schedule.MaxInterval,
		})}
	}
	c := choice{current: -1}
	for now := start; now.Before(start.Add(10 * time.Minute)); now = now.Add(lookEvery) {
		var views []view
		for i := range paths {
			p := &paths[i]
			if !now.Before(p.next) {
				if rtt, ok := sample(r, i); ok {
					p.Success(now, rtt)
				} else {
					p.Failure(now, health.ErrStalled)
				}
				p.interval = schedule.Next(p.Status(now), p.interval, health.Covered)
				p.next = now.Add(p.interval)
			}
			views = append(views, viewOf(p.Status(now), 1, NoWish))
		}
		var why Reason
		if c, why = c.next(now, views, usual); why != "" && why != ReasonFirst {
			switches++
		}
	}
	return switches
}

func TestNoFlapping(t *testing.T) {
	jitter := func(r *rand.Rand, rtt time.Duration) time.Duration {
		return max(rtt+time.Duration(r.NormFloat64()*float64(10*ms)), ms)
	}
	tests := map[string]struct {
		sample func(r *rand.Rand, path int) (time.Duration, bool)
		most   int
	}{
		"paths that differ by 5 ms": {func(r *rand.Rand, path int) (time.Duration, bool) {
			return jitter(r, 50*ms+time.Duration(path)*5*ms), true
		}, 0},
		"the better one loses a tenth of the datagrams": {func(r *rand.Rand, path int) (time.Duration, bool) {
			lost := func() bool { return r.Float64() < 0.19 } // there or back
			return jitter(r, 50*ms+time.Duration(path)*50*ms), path == 1 || !lost() || !lost()
		}, 2},
		"the better one loses a tenth of the packets": {func(r *rand.Rand, path int) (time.Duration, bool) {
			rtt := jitter(r, 50*ms+time.Duration(path)*50*ms)
			for path == 0 && r.Float64() < 0.1 {
				rtt += 250 * ms // sent again
			}
			return rtt, true
		}, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			const runs = 200
			more := 0 // chance has it now and then
			for seed := range uint64(runs) {
				got := noisy(seed, tt.sample)
				if got > tt.most {
					more++
				}
				if got > tt.most+1 {
					t.Errorf("seed %d: %d switches, want %d at most, or one more", seed, got, tt.most)
				}
			}
			if more > runs/100 {
				t.Errorf("%d of %d runs had more than %d switches, want 1 %% at most", more, runs, tt.most)
			}
		})
	}
}

func TestShare(t *testing.T) {
	tests := map[string]struct {
		n     int
		views []view
		want  []int
	}{
		"none":                    {0, scores(ms, ms), []int{0, 0}},
		"one on each of the best": {2, scores(30*ms, 10*ms, 20*ms), []int{0, 1, 1}},
		"the rest on the best":    {5, scores(30*ms, 10*ms), []int{1, 4}},
		"not where it is down":    {2, []view{ranked(down, ms), ranked(eligible, 9*ms)}, []int{0, 2}},
		"not where it cools":      {2, []view{ranked(cooling, ms), ranked(eligible, 9*ms)}, []int{0, 2}},
		"where it cools, if need be": {
			2, []view{ranked(down, ms), ranked(cooling, 9*ms), ranked(cooling, ms)}, []int{0, 0, 2},
		},
		"where it works again":  {2, []view{ranked(cooling, ms), ranked(recovered, 9*ms)}, []int{0, 2}},
		"rather where it works": {1, []view{ranked(recovered, ms), ranked(eligible, 9*ms)}, []int{0, 1}},
		"not where it is drained": {
			2, []view{{wish: Drained, score: ms}, ranked(cooling, 9*ms)}, []int{0, 2},
		},
		"first where it is preferred": {
			3, []view{{score: ms}, {wish: Preferred, score: time.Second}}, []int{1, 2},
		},
		"nowhere": {2, []view{ranked(down, ms), ranked(down, ms)}, []int{0, 0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if keep := share(tt.n, tt.views); !slices.Equal(keep, tt.want) {
				t.Errorf("share = %v, want %v", keep, tt.want)
			}
		})
	}
}
