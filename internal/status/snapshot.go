package status

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// maxAge is how old a report may be, so that any number of requests costs the program ten reports a second.
const maxAge = 100 * time.Millisecond

// snapshot is the latest report, ready to be sent.
type snapshot struct {
	source Source

	// mu is held while a report is made, on purpose: one is made at a time, and whoever waits gets that one.
	mu    sync.Mutex
	taken time.Time
	body  []byte // never changed once it is here; nil: take another
	ready bool
}

// take returns a report that is maxAge old at most.
func (s *snapshot) take() (body []byte, ready bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.body != nil && now.Sub(s.taken) < maxAge {
		return s.body, s.ready, nil
	}
	r := s.source.Report()
	body, err = json.Marshal(r)
	if err != nil {
		return nil, false, fmt.Errorf("encode the report: %w", err)
	}
	s.taken, s.body, s.ready = now, append(body, '\n'), r.Ready
	return s.body, s.ready, nil
}

// forget makes the next report a fresh one.
func (s *snapshot) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body = nil
}
