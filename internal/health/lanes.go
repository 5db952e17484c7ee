package health

import (
	"context"
	"sync"
	"time"
)

const (
	// defaultLimit is enough for a revived server to be noticed at once among twenty that are silent.
	defaultLimit = 32
	// busyTime is how long a probe keeps a place that others may wait for: what makes work is over by then,
	// and waiting for a silent server makes none.
	busyTime = 250 * time.Millisecond
)

// lanes bound how many probes run at a time. Paths that are well have places of their own, and one that turns
// out slow gives its place up, so that no server can delay the probes of another.
type lanes struct {
	well     chan struct{} // a value for each place taken
	doubtful chan struct{}
}

func newLanes(limit int) lanes {
	if limit <= 0 {
		limit = defaultLimit
	}
	return lanes{well: make(chan struct{}, limit), doubtful: make(chan struct{}, limit)}
}

// enter waits for a place. It is not ok when ctx ended first.
func (l lanes) enter(ctx context.Context, st Status) (leave func(), ok bool) {
	lane := l.well
	if st.State == Down || st.Failures > 0 {
		lane = l.doubtful
	}
	select {
	case lane <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	free := sync.OnceFunc(func() { <-lane })
	if lane == l.doubtful {
		return free, true
	}
	slow := time.AfterFunc(busyTime, free)
	return func() { slow.Stop(); free() }, true
}
