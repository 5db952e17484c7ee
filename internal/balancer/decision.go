package balancer

import (
	"sync"
	"time"
)

// keptDecisions is how many switches of a protocol are remembered.
const keptDecisions = 64

// Decision is a switch from one upstream to another, and why.
type Decision struct {
	Time      time.Time
	Proto     string
	From      string // empty for the first one
	FromScore time.Duration
	To        string
	ToScore   time.Duration
	Reason    Reason
}

func (d Decision) attrs() []any {
	attrs := []any{"upstream", d.To, "score", d.ToScore.Round(scoreUnit), "reason", string(d.Reason)}
	if d.From != "" {
		attrs = append(attrs, "from", d.From, "from_score", d.FromScore.Round(scoreUnit))
	}
	return attrs
}

// scoreUnit is what a reader of the log can still make something of.
const scoreUnit = 10 * time.Microsecond

// decisions holds the last ones, and counts all.
type decisions struct {
	mu    sync.Mutex
	last  []Decision
	count map[Reason]uint64
}

func (d *decisions) add(one Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.last) == keptDecisions {
		d.last = append(d.last[:0], d.last[1:]...)
	}
	d.last = append(d.last, one)
	if d.count == nil {
		d.count = make(map[Reason]uint64)
	}
	d.count[one.Reason]++
}

// counts has every reason.
func (d *decisions) counts() map[Reason]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	counts := make(map[Reason]uint64)
	for _, reason := range reasons {
		counts[reason] = d.count[reason]
	}
	return counts
}

func (d *decisions) list() []Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Decision(nil), d.last...)
}
