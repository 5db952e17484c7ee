package health_test

import (
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// schedule is that of a configuration without keys.
var schedule = health.Schedule{
	Interval: 5 * time.Second, MinInterval: time.Second, MaxInterval: 30 * time.Second,
	Jitter: 200 * ms, Backoff: 1.6, RTTScale: 0.25,
}

func TestNext(t *testing.T) {
	now := at(time.Hour)
	up := health.Status{At: now, State: health.Up, RTT: 100 * ms}
	down := health.Status{At: now, State: health.Down, RTT: 100 * ms, Failures: 5}
	with := func(s health.Status, change func(*health.Status)) health.Status {
		change(&s)
		return s
	}
	failed := with(up, func(s *health.Status) { s.Failures = 1 })
	penalized := with(up, func(s *health.Status) { s.Penalty = 200 * ms })
	forgiven := with(up, func(s *health.Status) { s.Penalty = 100 * ms })
	cooling := with(up, func(s *health.Status) { s.Cooling = true })
	busy := with(up, func(s *health.Status) { s.LastAnswer = now.Add(-5 * time.Second) })
	idle := with(up, func(s *health.Status) { s.LastAnswer = now.Add(-6 * time.Second) })
	shaken := with(busy, func(s *health.Status) { s.Failures = 1 })

	for _, tt := range []struct {
		name     string
		status   health.Status
		previous time.Duration
		outlook  health.Outlook
		want     time.Duration
	}{
		{"down: at first", down, 0, health.Covered, time.Second},
		{"down: grows while there is another", down, 10 * time.Second, health.Covered, 16 * time.Second},
		{"down: up to the longest", down, 29 * time.Second, health.Covered, 30 * time.Second},
		{"down: a last hope does not wait", down, 30 * time.Second, health.LastHope, time.Second},
		{"down: without a network", down, time.Second, health.Offline, 5 * time.Second},
		{"unknown", health.Status{At: now}, 0, health.LastHope, 5 * time.Second},
		{"suspect", failed, 20 * time.Second, health.Covered, time.Second},
		{"unstable: a penalty", penalized, 20 * time.Second, health.Covered, 5 * time.Second},
		{"unstable: cooling", cooling, 20 * time.Second, health.Covered, 5 * time.Second},
		{"stable: at first", up, 0, health.LastHope, 5 * time.Second},
		{"stable: grows, and with the RTT", up, 5 * time.Second, health.LastHope, 8025 * ms},
		{"stable: an old penalty", forgiven, 5 * time.Second, health.LastHope, 8025 * ms},
		{"stable: up to the longest", up, 30 * time.Second, health.Covered, 30 * time.Second},
		{"busy", busy, 0, health.LastHope, 30 * time.Second},
		{"busy a while ago", idle, 0, health.LastHope, 5 * time.Second},
		{"busy and suspect", shaken, 0, health.LastHope, time.Second},
		{"own fault", up, 20 * time.Second, health.Offline, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := schedule.Next(tt.status, tt.previous, tt.outlook); got != tt.want {
				t.Errorf("Next(%v) = %v, want %v", tt.previous, got, tt.want)
			}
		})
	}
}

func TestNextWithoutBackoff(t *testing.T) {
	s := schedule
	s.Backoff, s.RTTScale = 0, 0
	up := health.Status{At: at(0), State: health.Up, RTT: ms}
	if got := s.Next(up, 5*time.Second, health.Covered); got != 5*time.Second {
		t.Errorf("Next without backoff = %v, want 5s", got)
	}
}
