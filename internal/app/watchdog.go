package app

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// A sign of life is due every watchdog interval. Progress is looked for three times as often, and the loops
// turn twice as often as that while they have nothing to do.
const (
	looksPerWatchdog  = 3
	roundsPerWatchdog = 2 * looksPerWatchdog
)

// watch gives signs of life while there is progress, until ctx ends: while the balancer looks at its paths
// and every accept loop comes back for the next client.
func (a *App) watch(ctx context.Context) {
	if a.service.watchdog <= 0 || a.service.tell == nil {
		return
	}
	ticker := time.NewTicker(max(a.service.watchdog/looksPerWatchdog, time.Millisecond))
	defer ticker.Stop()
	before := a.progress()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := a.progress()
		if stuck := now.stuck(before); len(stuck) > 0 {
			a.log.ErrorContext(ctx, "no progress", "stage", stuck)
		} else {
			a.say("WATCHDOG=1")
		}
		before = now
	}
}

// progress is how many rounds each loop has made, by its name.
type progress map[string]uint64

// stuck names the loops that have made no round since before.
func (p progress) stuck(before progress) (names []string) {
	for name, rounds := range p {
		if was, ok := before[name]; ok && was == rounds {
			names = append(names, name)
		}
	}
	return names
}

// progress waits for a reload that is going on: one that hangs is no progress either.
func (a *App) progress() progress {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	p := progress{"balancer": a.balancer.Rounds()}
	for at, d := range a.doors {
		if d.tended != nil {
			p["accept at "+at.addr] = d.tended.rounds.Load()
		}
	}
	return p
}

// tended is a listener whose accept loop can be seen to go on: Accept comes round at least so often, without
// a client too.
type tended struct {
	*net.TCPListener
	every  time.Duration
	rounds atomic.Uint64
}

// tend returns l as a tended listener, or nil where nobody asks for signs of life. A loop that waits for
// clients to leave before it accepts others, as that of HTTP does, is no measure.
func (a *App) tend(p place, l net.Listener) *tended {
	tcp, ok := l.(*net.TCPListener)
	if !ok || p.kind != kindSOCKS5 || a.service.watchdog <= 0 {
		return nil
	}
	return &tended{TCPListener: tcp, every: max(a.service.watchdog/roundsPerWatchdog, time.Millisecond)}
}

// Accept implements net.Listener.
func (t *tended) Accept() (net.Conn, error) {
	for {
		t.rounds.Add(1)
		if err := t.SetDeadline(time.Now().Add(t.every)); err != nil {
			return nil, err
		}
		c, err := t.TCPListener.Accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
	}
}
