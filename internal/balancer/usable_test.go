package balancer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

var errDialFails = errors.New("no way there")

// TestUsable: after a failure, a probe says whether a path works again. Where there are no probes, nobody
// does, and one failure must not shut everybody out until the path has cooled down.
func TestUsable(t *testing.T) {
	tests := []struct {
		name string
		know func(r *health.Record, now time.Time) // before a dial fails
		then func(r *health.Record, now time.Time) // after it
		want bool
	}{
		{"no probes", nil, nil, true},
		{"probed before", up, nil, false},
		{"probed before and after", up, up, true},
		{"a probe fails before", fail, nil, true},
		{"probes fail after", nil, failTwice, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, 1, testOptions(), func(t *testing.T, s *setup) {
				up := s.ups[0]
				if tt.know != nil {
					tt.know(up.record, time.Now())
				}
				up.dial = func(context.Context) error { return errDialFails }
				if conn, err := s.DialStream(t.Context(), target); err == nil {
					_ = conn.Close()
					t.Fatal("dial = nil, want an error")
				}
				time.Sleep(ms)
				if tt.then != nil {
					tt.then(up.record, time.Now())
				}
				time.Sleep(ms)
				if got := s.Usable(TCP); got != tt.want {
					t.Errorf("Usable = %v, want %v; %+v", got, tt.want, up.record.Status(time.Now()))
				}
			})
		})
	}
}

func up(r *health.Record, now time.Time) { r.Success(now, ms) }

func fail(r *health.Record, now time.Time) { r.Failure(now, errDialFails) }

func failTwice(r *health.Record, now time.Time) {
	fail(r, now)
	fail(r, now)
}
