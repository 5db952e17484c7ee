package health_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// reborn is a new record made from what a state file kept of r.
func reborn(t *testing.T, r *health.Record, now time.Time) *health.Record {
	t.Helper()
	data, err := json.Marshal(r.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var s health.Snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	fresh := health.NewRecord(policy)
	fresh.Restore(s, now)
	return fresh
}

func TestSnapshotKeepsTheScore(t *testing.T) {
	r := health.NewRecord(policy)
	r.Success(at(0), 40123*time.Microsecond)
	r.FlowFailed(at(time.Second), errors.New("secret-path"))
	now := at(3 * time.Minute)
	want, got := r.Status(now), reborn(t, r, now).Status(now)
	if got.RTT != want.RTT || got.Penalty != want.Penalty || got.Stale != want.Stale {
		t.Errorf("restored: %v + %v + %v, want %v + %v + %v",
			got.RTT, got.Penalty, got.Stale, want.RTT, want.Penalty, want.Stale)
	}
	if data, _ := json.Marshal(r.Snapshot()); strings.Contains(string(data), "secret") {
		t.Errorf("snapshot %s has the text of an error", data)
	}
}

func TestSnapshotOfNothingIsEmpty(t *testing.T) {
	data, err := json.Marshal(health.NewRecord(policy).Snapshot())
	if err != nil || string(data) != "{}" {
		t.Errorf("snapshot of a new record = %s, %v, want {}, nil", data, err)
	}
}

func TestRestoredStateIsBelievedForAMinute(t *testing.T) {
	down, up := health.NewRecord(policy), health.NewRecord(policy)
	last := play(down, "sff")
	play(up, "ffa")
	for d, want := range map[time.Duration][2]health.State{
		10 * time.Second: {health.Down, health.Up},
		2 * time.Minute:  {health.Unknown, health.Unknown},
		-time.Minute:     {health.Unknown, health.Unknown}, // the clock was wrong then, or is now
	} {
		now := last.Add(d)
		a, b := reborn(t, down, now).Status(now), reborn(t, up, now).Status(now)
		if a.State != want[0] || b.State != want[1] {
			t.Errorf("states after %v = %v, %v, want %v", d, a.State, b.State, want)
		}
	}
}

func TestRestoreDistrusts(t *testing.T) {
	now, then := at(0), at(-time.Hour)
	for name, s := range map[string]health.Snapshot{
		"no such state":    {State: 77, StateAt: now},
		"negative":         {RTT: -1, RTTAt: now, Penalty: -1, PenaltyAt: now},
		"without times":    {State: health.Down, RTT: 10 * ms, Penalty: time.Second},
		"from the future":  {RTT: 10 * ms, RTTAt: at(time.Hour), Penalty: time.Second, PenaltyAt: at(1)},
		"from another age": {RTT: 10 * ms, RTTAt: then, Penalty: time.Second, PenaltyAt: then},
	} {
		r := health.NewRecord(policy)
		r.Restore(s, now)
		if got := r.Status(now); got != (health.Status{At: now}) {
			t.Errorf("%s: Status = %+v, want nothing", name, got)
		}
	}
	r := health.NewRecord(policy)
	r.Restore(health.Snapshot{Penalty: 1 << 60, PenaltyAt: now}, now)
	if got := r.Status(now).Penalty; got > 4*time.Second {
		t.Errorf("restored penalty = %v, want 4s at the most", got)
	}
}
