package health_test

import (
	"errors"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// worn returns a record with something in every field that costs time.
func worn(now time.Time) *health.Record {
	r := health.NewRecord(policy)
	r.Success(now.Add(-3*time.Minute), 40*time.Millisecond)
	r.FlowFailed(now.Add(-10*time.Second), errors.New("reset"))
	return r
}

func BenchmarkScore50(b *testing.B) {
	now := time.Now()
	statuses := make([]health.Status, 50)
	for i := range statuses {
		statuses[i] = worn(now).Status(now)
	}
	b.ReportAllocs()
	var best time.Duration
	for b.Loop() {
		best = 1 << 62
		for i := range statuses {
			best = min(best, statuses[i].Score(1.5))
		}
	}
	if best == 0 {
		b.Error("a score of 0")
	}
}

func BenchmarkStatus(b *testing.B) {
	now := time.Now()
	r := worn(now)
	b.ReportAllocs()
	for b.Loop() {
		if s := r.Status(now); s.RTT == 0 || s.Penalty == 0 || s.Stale == 0 {
			b.Fatalf("Status = %+v, want every term", s)
		}
	}
}
