package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Probe tests a path. The round-trip time is that of a request and its answer, without what came before.
type Probe func(ctx context.Context) (rtt time.Duration, err error)

// Timeouts bound the stages of a probe, each on its own. 0 = only ctx does.
type Timeouts struct {
	Dial     time.Duration // opening the path
	Exchange time.Duration // a request to a target and its answer
}

// Stage is a part of a probe.
type Stage uint8

// The stages.
const (
	Transport Stage = iota // the path is opened
	Quality                // a target is asked
)

// String returns the stage as logs and metrics show it.
func (s Stage) String() string {
	if s == Quality {
		return "quality"
	}
	return "transport"
}

// StageError says at which stage a probe failed.
type StageError struct {
	Stage  Stage
	Target string
	Err    error
}

// Error names the target where it is the one that did not answer.
func (e *StageError) Error() string {
	if e.Stage == Quality {
		return fmt.Sprintf("ask %s: %v", e.Target, e.Err)
	}
	return fmt.Sprintf("open a path: %v", e.Err)
}

// Unwrap returns the cause.
func (e *StageError) Unwrap() error { return e.Err }

// stageOf is where a probe failed; one that does not say so never got further than opening the path.
func stageOf(err error) Stage {
	if e, ok := errors.AsType[*StageError](err); ok {
		return e.Stage
	}
	return Transport
}

// rotation hands out targets in turn, so that none is asked more than the others.
type rotation struct {
	targets []string
	next    atomic.Uint32
}

// pair returns the target whose turn it is, and the one to ask when it fails: two of them fail a path, or the
// only one.
func (r *rotation) pair() []string {
	n := len(r.targets)
	first := int(r.next.Add(1)-1) % n
	if n == 1 {
		return r.targets
	}
	return []string{r.targets[first], r.targets[(first+1)%n]}
}

// askInTurn asks targets until one answers. One that the path was not even opened for is the last.
func askInTurn(ctx context.Context, targets []string, ask func(target string) (time.Duration, error)) (
	time.Duration, error,
) {
	var failed *StageError // the last target that did not answer
	for _, target := range targets {
		rtt, err := ask(target)
		if err == nil {
			return rtt, nil
		}
		if failed != nil && ctx.Err() != nil { // no time was left for this one
			return 0, failed
		}
		at, ok := errors.AsType[*StageError](err)
		if !ok || at.Stage != Quality {
			return 0, err
		}
		if failed != nil {
			at.Err = fmt.Errorf("%w (and %w)", at.Err, failed)
		}
		failed = at
		if ctx.Err() != nil {
			break
		}
	}
	return 0, failed
}

// within bounds ctx by a timeout that says so; 0 is none.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("nothing within %s: %w", d, context.DeadlineExceeded))
}

// deadliner is what streams and packet sockets share.
type deadliner interface{ SetDeadline(t time.Time) error }

// interrupt makes all I/O on c fail when ctx ends. The caller calls stop when it is done with c.
func interrupt(ctx context.Context, c deadliner) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

// explain says why an exchange under ctx failed: ctx's reason is better than the deadline it became.
func explain(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
