package wake

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Cause is what has changed.
type Cause uint8

// The causes.
const (
	// Network is an address, a route or a link of this host.
	Network Cause = iota
	// Clock is time that went by unseen: the host slept, the program was stopped, or the clock was set.
	Clock
)

// String returns the cause as logs show it.
func (c Cause) String() string {
	if c == Clock {
		return "clock"
	}
	return "network"
}

// settleTime is how long news is gathered: an address comes with routes, and one change must not be taken for
// many.
const settleTime = 200 * time.Millisecond

// Run sends a cause for every change until ctx ends. It waits for whoever receives, and then tells of all
// that happened meanwhile as of one change.
func Run(ctx context.Context, log *slog.Logger, causes chan<- Cause) {
	tell := func(c Cause) {
		select {
		case causes <- c:
		case <-ctx.Done():
		}
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { watchClock(ctx, time.Now, func() { tell(Clock) }) })
	n, err := openNews()
	if err != nil {
		log.DebugContext(ctx, "changes of the network are not reported", "err", err)
		return
	}
	watchNetwork(ctx, n, func() { tell(Network) })
}

// news is what the system reports of its network.
type news interface {
	// Wait returns when there is something new.
	Wait() error
	// Forget drops what has come since.
	Forget() error
	// Close ends Wait.
	Close() error
}

// watchNetwork calls changed some time after a report, once for all that came until then.
func watchNetwork(ctx context.Context, n news, changed func()) {
	stop := context.AfterFunc(ctx, func() { _ = n.Close() })
	defer func() {
		if stop() {
			_ = n.Close()
		}
	}()
	settled := time.NewTimer(settleTime)
	defer settled.Stop()
	for n.Wait() == nil {
		settled.Reset(settleTime)
		select {
		case <-settled.C:
		case <-ctx.Done():
			return
		}
		if n.Forget() != nil {
			return
		}
		changed()
	}
}
