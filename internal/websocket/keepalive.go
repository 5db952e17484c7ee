package websocket

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of the keep-alive. Proxies cut tunnels that are idle for 60 s (nginx) or 100 s (Cloudflare), and
// Outline's server never pings.
const (
	defaultPingAfter = 30 * time.Second
	defaultPongLimit = 10 * time.Second
	// firstPingAfter is for the first thing sent, which nothing answered yet: a dead server should show soon.
	firstPingAfter = 5 * time.Second
	// jitter is the part of an interval by which it varies, so that connections do not ping in step.
	jitter = 0.1
	// maxUnanswered is how much we may have sent since we last heard from the peer for a missing pong to
	// count. A peer whose target takes no more stops reading and so answers no ping; that is back-pressure,
	// not death. This much fits into the buffers between.
	maxUnanswered = 16 << 10
)

// ErrPingTimeout says that the peer answered neither data nor a ping.
var ErrPingTimeout = errors.New("websocket peer does not answer pings")

// keepalive pings a silent peer and gives it up when no answer comes. Data and pongs count alike. It costs a
// few atomic operations a frame and no timer call.
type keepalive struct {
	pingAfter time.Duration // silence before a ping
	pongLimit time.Duration // silence after one
	ping      func() (sent bool)
	dead      func() // called once, at most

	heard      atomic.Bool  // something arrived since the last tick
	unanswered atomic.Int64 // bytes sent since something arrived
	begun      atomic.Bool  // something was sent
	over       atomic.Bool  // a Close frame went either way: no pong will come any more

	mu      sync.Mutex
	timer   *time.Timer // nil before start and after stop
	waiting bool        // a ping is out
}

// start begins the wait. A negative pingAfter means no keep-alive.
func (k *keepalive) start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pingAfter > 0 {
		k.timer = time.AfterFunc(jittered(k.pingAfter), k.tick)
	}
}

// suspend ends the keep-alive without waiting for a ping in progress.
func (k *keepalive) suspend() { k.over.Store(true) }

// stop ends the keep-alive and waits for a ping in progress, so the carrier must be closed before.
func (k *keepalive) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
}

// sent counts n bytes of data. The first ones shorten the wait, because a server that never answered anything
// is more likely to be dead.
func (k *keepalive) sent(n int) {
	k.unanswered.Add(int64(n))
	if k.begun.Load() || k.begun.Swap(true) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil && k.pingAfter > firstPingAfter {
		k.timer.Reset(jittered(firstPingAfter))
	}
}

// received counts any sign of life.
func (k *keepalive) received() {
	k.unanswered.Store(0)
	if !k.heard.Load() {
		k.heard.Store(true)
	}
}

func (k *keepalive) tick() {
	if !k.check() {
		k.dead()
	}
}

// check looks at what happened since the last tick, pings if nothing did, and reports whether the peer may be
// alive.
func (k *keepalive) check() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer == nil || k.over.Load() {
		return true
	}
	switch {
	case k.heard.Swap(false):
		k.waiting = false
		k.timer.Reset(jittered(k.pingAfter))
	case !k.waiting:
		k.waiting = k.ping()
		k.timer.Reset(k.pongLimit)
	case k.unanswered.Load() > maxUnanswered:
		k.timer.Reset(k.pongLimit)
	default:
		k.timer = nil
		return false
	}
	return true
}

func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*2-1)*jitter*float64(d)) //nolint:gosec // spreads load, hides nothing
}
