package health_test

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	policy = health.Policy{
		FailThreshold: 2, SuccessThreshold: 1, Cooldown: 20 * time.Second, MaxInterval: 30 * time.Second,
	}
	errRefused = syscall.ECONNREFUSED
	start      = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
)

const ms = time.Millisecond

// at is a moment of the tests that need no clock.
func at(d time.Duration) time.Time { return start.Add(d) }

// play feeds a record one event a second: s a passed probe, f a failed one, a an answer, x a failed flow, e
// what is this host's fault, E the same for a flow, u no network, n another network, 1 and 2 stalls of two
// targets, t an excuse.
func play(r *health.Record, events string) time.Time {
	now := start
	for _, e := range events {
		now = now.Add(time.Second)
		switch e {
		case 's':
			r.Success(now, 10*ms)
		case 'f':
			r.Failure(now, errRefused)
		case 'a':
			r.Answered(now)
		case 'x':
			r.FlowFailed(now, errRefused)
		case 'e':
			r.Failure(now, syscall.EMFILE)
		case 'E':
			r.FlowFailed(now, syscall.EMFILE)
		case 'u':
			r.FlowFailed(now, syscall.ENETUNREACH)
		case 'n':
			r.Renew(now)
		case 't':
			r.Excuse()
		default:
			r.Stalled(now, "target-"+string(e))
		}
	}
	return now
}

func TestStates(t *testing.T) {
	strict := policy
	strict.FailThreshold, strict.SuccessThreshold = 3, 2
	for _, tt := range []struct {
		name    string
		policy  health.Policy
		events  string
		state   health.State
		cooling bool
	}{
		{"nothing known", policy, "", health.Unknown, false},
		{"one success", policy, "s", health.Up, false},
		{"one failure", policy, "f", health.Unknown, false},
		{"two failures", policy, "ff", health.Down, false},
		{"failures not in a row", policy, "fsfsf", health.Up, false},
		{"a down path passes", policy, "ffs", health.Up, false},
		{"a down path answers", policy, "fffa", health.Up, false},
		{"an answer ends the row of failures", policy, "sfaf", health.Up, false},
		{"thresholds: too few failures", strict, "ssff", health.Up, false},
		{"thresholds: enough failures", strict, "ssfff", health.Down, false},
		{"thresholds: too few successes", strict, "fffs", health.Down, false},
		{"thresholds: successes not in a row", strict, "fffsfs", health.Down, false},
		{"thresholds: enough successes", strict, "fffss", health.Up, false},
		{"no thresholds", health.Policy{}, "f", health.Down, false},
		{"own fault", policy, "seeee", health.Up, false},
		{"own fault of flows", policy, "sEEEE", health.Up, false},
		{"a flow fails", policy, "sx", health.Up, true},
		{"a failed flow outweighs a probe", policy, "sxs", health.Up, true},
		{"a failed flow outweighs another's answer", policy, "sxa", health.Up, true},
		{"no network", policy, "su", health.Up, true},
		{"no network, then a probe passes", policy, "sus", health.Up, false},
		{"no network, then an answer", policy, "sua", health.Up, false},
		{"one target stalls", policy, "s1", health.Up, false},
		{"one target stalls again and again", policy, "s1111", health.Up, false},
		{"two targets stall", policy, "s12", health.Up, true},
		{"two targets stall and probes pass", policy, "s1s2s", health.Up, true},
		{"an answer between stalls", policy, "s1a2", health.Up, false},
		{"an answer after stalls", policy, "s12a", health.Up, false},
		{"a failed flow and stalls, then an answer", policy, "x12a", health.Up, false},
		{"failed flows on the network before", policy, "sxnxx", health.Up, false},
		{"a failed flow on this network", policy, "snsssx", health.Up, true},
		{"a failure on the network before", policy, "sfnf", health.Up, false},
		{"down on the network before", policy, "sffn", health.Down, false},
		{"stalls on the network before", policy, "s1n2", health.Up, false},
		{"cooling by stalls on the network before", policy, "s12n", health.Up, false},
		{"the target was to blame", policy, "fft", health.Unknown, false},
		{"the target was to blame for a path that is up", policy, "sft", health.Up, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := health.NewRecord(tt.policy)
			s := r.Status(play(r, tt.events))
			if s.State != tt.state || s.Cooling != tt.cooling {
				t.Errorf("after %q: %v, cooling %v, want %v, %v",
					tt.events, s.State, s.Cooling, tt.state, tt.cooling)
			}
			if want := tt.state != health.Down && !tt.cooling; s.Eligible() != want {
				t.Errorf("after %q: Eligible() = %v, want %v", tt.events, s.Eligible(), want)
			}
		})
	}
}

func TestCoolingEnds(t *testing.T) {
	r := health.NewRecord(policy)
	r.FlowFailed(at(0), errRefused)
	for d, want := range map[time.Duration]bool{
		0: true, policy.Cooldown - 1: true, policy.Cooldown: false, time.Hour: false,
	} {
		s := r.Status(at(d))
		if s.Cooling != want || !s.CoolUntil.Equal(at(policy.Cooldown)) {
			t.Errorf("Status after %v: cooling %v until %v, want %v until %v",
				d, s.Cooling, s.CoolUntil, want, at(policy.Cooldown))
		}
	}
}

// A path on which flows get no answers although probes pass must not take a flow every Cooldown for ever.
func TestStallsCoolForLongerEachTime(t *testing.T) {
	r := health.NewRecord(policy)
	stallAt := func(d time.Duration) time.Duration {
		r.Stalled(at(d), "a:1")
		r.Stalled(at(d), "b:1")
		return r.Status(at(d)).CoolUntil.Sub(at(d))
	}
	for i, factor := range []time.Duration{1, 2, 4, 8, 8} {
		if got, want := stallAt(time.Duration(i)*time.Hour), factor*policy.Cooldown; got != want {
			t.Errorf("cooling after stalls no. %d = %v, want %v", i+1, got, want)
		}
	}
	r.FlowFailed(at(4*time.Hour+time.Second), errRefused)
	if s := r.Status(at(4 * time.Hour)); !s.CoolUntil.Equal(at(4*time.Hour + 8*policy.Cooldown)) {
		t.Errorf("a failed flow moved the end of cooling to %v", s.CoolUntil)
	}
	r.Answered(at(10 * time.Hour))
	if got := stallAt(11 * time.Hour); got != policy.Cooldown {
		t.Errorf("cooling after an answer = %v, want %v", got, policy.Cooldown)
	}
	err := r.Status(at(0)).LastError
	if !errors.Is(err, health.ErrStalled) || !strings.Contains(err.Error(), "a:1, b:1") {
		t.Errorf("LastError = %v, want %v with both targets", err, health.ErrStalled)
	}
}

func TestStallsFarApartAreTwoTroubles(t *testing.T) {
	r := health.NewRecord(policy)
	r.Stalled(at(0), "a:1")
	r.Stalled(at(61*time.Second), "b:1")
	if s := r.Status(at(61 * time.Second)); s.Cooling {
		t.Error("two stalls a minute apart: cooling, want not")
	}
	r.Stalled(at(62*time.Second), "a:1")
	if s := r.Status(at(62 * time.Second)); !s.Cooling {
		t.Error("two stalls a second apart: not cooling, want cooling")
	}
}

func TestRTTIsSmoothed(t *testing.T) {
	r := health.NewRecord(policy)
	for i, step := range []struct{ sample, want time.Duration }{
		{300 * ms, 300 * ms}, // the first sets it, but one that was long by accident is soon forgotten
		{40 * ms, 40 * ms},
		{40 * ms, 40 * ms},
		{500 * ms, 40 * ms},
		{40 * ms, 40 * ms},
		{500 * ms, 40 * ms}, // two of five say nothing
		{80 * ms, 50 * ms},  // three do: the median is 80 ms, and a quarter of it counts
		{80 * ms, 57500 * time.Microsecond},
	} {
		now := at(time.Duration(i) * time.Second)
		r.Success(now, step.sample)
		if s := r.Status(now); s.RTT != step.want || !s.LastSample.Equal(now) {
			t.Errorf("RTT after %v = %v at %v, want %v at %v",
				step.sample, s.RTT, s.LastSample, step.want, now)
		}
	}
	r.Success(at(10*time.Minute), 300*ms)
	if got := r.Status(at(10 * time.Minute)).RTT; got != 300*ms {
		t.Errorf("RTT after a sample that follows an old one = %v, want the new one, 300ms", got)
	}
}

func TestRTTKeepsMicroseconds(t *testing.T) {
	r := health.NewRecord(policy)
	r.Success(at(0), 230*time.Microsecond)
	r.Success(at(1), 270*time.Microsecond)
	r.Success(at(2), 240*time.Microsecond)
	if s := r.Status(at(3)); s.RTT != 240*time.Microsecond || s.LastRTT != 240*time.Microsecond {
		t.Errorf("RTT = %v, last %v, want 240µs", s.RTT, s.LastRTT)
	}
	r = health.NewRecord(policy)
	r.Success(at(0), 0)
	if got := r.Status(at(0)).RTT; got == 0 {
		t.Error("RTT of a clock too coarse to see it = 0, which is unknown; want more")
	}
}

func TestRTTAges(t *testing.T) {
	r := health.NewRecord(policy)
	r.Success(at(0), 40*ms)
	last := time.Duration(0)
	for d := time.Duration(0); d <= 12*time.Minute; d += time.Second {
		s := r.Status(at(d))
		score := s.Score(1)
		fresh := d <= 2*policy.MaxInterval
		if fresh != (s.Stale == 0) && d < 10*time.Minute {
			t.Fatalf("Stale after %v = %v, want 0: %v", d, s.Stale, fresh)
		}
		if score < last || score-last > 2*ms && d > 0 {
			t.Fatalf("score after %v = %v, before %v; want it to grow slowly", d, score, last)
		}
		if d >= 10*time.Minute && (s.RTT != 0 || score != health.UnknownRTT) {
			t.Fatalf("after %v RTT %v, score %v, want unknown, %v", d, s.RTT, score, health.UnknownRTT)
		}
		last = max(score, 40*ms)
	}
}

func TestSlowRTTAgesWithoutBecomingBetter(t *testing.T) {
	r := health.NewRecord(policy)
	r.Success(at(0), 2*time.Second)
	if s := r.Status(at(9 * time.Minute)); s.RTT != 2*time.Second || s.Stale != 0 {
		t.Errorf("after 9 min: RTT %v + %v, want 2s + 0", s.RTT, s.Stale)
	}
}

// A lost probe now and then is worth no switch. One that puts the path down costs as much as a flow's
// failure.
func TestPenaltyOfProbes(t *testing.T) {
	r := health.NewRecord(policy)
	for i, want := range []time.Duration{10 * ms, 15 * ms, 17500 * time.Microsecond} {
		now := at(time.Duration(i) * time.Minute)
		r.Failure(now, errRefused)
		if s := r.Status(now); (s.Penalty-want).Abs() > ms || s.State == health.Down {
			t.Errorf("penalty after failure no. %d = %v, %v, want about %v", i+1, s.Penalty, s.State, want)
		}
		r.Success(now.Add(time.Second), 40*ms)
	}
	for range policy.FailThreshold {
		r.Failure(at(10*time.Minute), errRefused)
		r.Failure(at(10*time.Minute+2*time.Second), errRefused)
	}
	if s := r.Status(at(10*time.Minute + 2*time.Second)); s.Penalty < 500*ms || s.State != health.Down {
		t.Errorf("penalty of a path that is down = %v, %v", s.Penalty, s.State)
	}
}

func TestPenalty(t *testing.T) {
	r := health.NewRecord(policy)
	for i, want := range []time.Duration{500 * ms, 1483 * ms, 3417 * ms, 4000 * ms, 4000 * ms} {
		now := at(time.Duration(i) * time.Second)
		r.FlowFailed(now, errRefused)
		if got := r.Status(now).Penalty; (got - want).Abs() > ms {
			t.Errorf("penalty after failure no. %d = %v, want about %v", i+1, got, want)
		}
	}
	r.Success(at(5*time.Second), 10*ms)
	for d, want := range map[time.Duration]time.Duration{
		30 * time.Second: 2000 * ms, 60 * time.Second: 1000 * ms, 75 * time.Second: 750 * ms,
		300 * time.Second: 4000 * ms / 1024, 24 * time.Hour: 0, -time.Hour: 4000 * ms,
	} {
		if got := r.Status(at(4*time.Second + d)).Penalty; (got - want).Abs() > ms {
			t.Errorf("penalty %v after the last failure = %v, want %v", d, got, want)
		}
	}
}

// Two hundred flows that meet the death of a server are one failure of it.
func TestOneEventIsPunishedOnce(t *testing.T) {
	r := health.NewRecord(policy)
	for i := range 200 {
		r.FlowFailed(at(time.Duration(i)*ms), errRefused)
	}
	if got := r.Status(at(0)).Penalty; got != 500*ms {
		t.Errorf("penalty = %v, want 500ms", got)
	}
}

func TestNoNetworkIsNotPunished(t *testing.T) {
	r := health.NewRecord(policy)
	r.Failure(at(0), syscall.ENETUNREACH)
	r.Failure(at(5*time.Second), syscall.ENETUNREACH)
	s := r.Status(at(5 * time.Second))
	if s.State != health.Down || s.Penalty != 0 || s.LastError == nil {
		t.Errorf("without a network: %v, penalty %v, last error %v; want down, 0, an error",
			s.State, s.Penalty, s.LastError)
	}
}

func TestOwnFaultLeavesNoTrace(t *testing.T) {
	r := health.NewRecord(policy)
	r.Success(at(0), 10*ms)
	before := r.Status(at(time.Second))
	r.Failure(at(time.Second), syscall.EMFILE)
	r.FlowFailed(at(time.Second), syscall.EMFILE)
	if after := r.Status(at(time.Second)); after != before {
		t.Errorf("Status = %+v, want %+v", after, before)
	}
}

func TestScore(t *testing.T) {
	full := health.Status{RTT: 100 * ms, Penalty: 20 * ms, Stale: 30 * ms}
	for _, tt := range []struct {
		name   string
		status health.Status
		weight float64
		want   time.Duration
	}{
		{"sum of its terms", full, 1, 150 * ms},
		{"weight halves it", full, 2, 75 * ms},
		{"small weight", full, 0.5, 300 * ms},
		{"unknown", health.Status{}, 1, health.UnknownRTT},
		{"unknown with penalty and weight", health.Status{Penalty: 500 * ms}, 4, 250 * ms},
		{"tiny weight", full, 1e-300, 1<<63 - 1},
		{"microseconds", health.Status{RTT: 7 * time.Microsecond}, 2, 3500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.status.Score(tt.weight); got != tt.want {
				t.Errorf("Score(%v) = %v, want %v", tt.weight, got, tt.want)
			}
		})
	}
}

func TestStateNames(t *testing.T) {
	for state, want := range map[health.State]string{
		health.Unknown: "unknown", health.Up: "up", health.Down: "down", health.State(9): "unknown",
	} {
		if got := state.String(); got != want {
			t.Errorf("State(%d).String() = %q, want %q", state, got, want)
		}
	}
}

func TestRecordIsConcurrent(t *testing.T) {
	r := health.NewRecord(policy)
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			play(r, strings.Repeat("sfax12te", 50))
			_ = r.Status(start)
			r.Restore(r.Snapshot(), start)
		})
	}
	running.Wait()
}

// Targets refuse for reasons of their own. When all do, it may be the server that reaches none.
func TestRefusals(t *testing.T) {
	r := health.NewRecord(health.Policy{Cooldown: 20 * time.Second})
	now := time.Now()
	for i, step := range []struct {
		after    time.Duration
		target   string
		answered bool
		want     bool
	}{
		{0, "a:1", false, false},
		{time.Second, "a:1", false, false},
		{time.Second, "b:1", false, true},
		{time.Second, "c:1", false, true},
		{time.Second, "a:1", true, false},
		{time.Second, "b:1", false, true},
		{2 * time.Minute, "b:1", false, false},
	} {
		now = now.Add(step.after)
		if step.answered {
			r.Answered(now)
		}
		if got := r.Refused(now, step.target); got != step.want {
			t.Errorf("step %d: Refused(%s) = %v, want %v", i, step.target, got, step.want)
		}
	}
	if s := r.Status(now); s.Cooling || s.Penalty > 0 {
		t.Errorf("status = %+v", s)
	}
}
