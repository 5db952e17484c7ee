package websocket

import (
	"errors"
	"io"
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
	// maxUnanswered is how much a stream may have sent since we last heard from the peer for a missing pong
	// to count. A peer whose target takes no more stops reading and so answers no ping; that is
	// back-pressure, not death. This much fits into the buffers between.
	maxUnanswered = 16 << 10
	// maxUnacknowledged is for how long the peer's host may leave unacknowledged what it was sent. A host
	// that is there acknowledges even when its application reads nothing.
	maxUnacknowledged = 20 * time.Second
)

// ErrPingTimeout says that the peer answered neither data nor a ping.
var ErrPingTimeout = errors.New("websocket peer does not answer pings")

// keepalive pings a silent peer and gives it up when no answer comes. Any byte counts as one. Silence is held
// against the peer only while somebody reads: when the application takes no more, answers wait unread below
// us.
type keepalive struct {
	ping     func() (sent bool)
	frames   func() uint64 // frames written so far, pings included
	mayBlock func() bool   // whether the peer may be alive and have stopped reading; never for datagrams
	dead     func()        // called once, at most, and never after stop

	epoch      time.Time     // what heard counts from
	heard      atomic.Int64  // when something arrived last, as a time.Duration since epoch
	reads      atomic.Uint64 // grows when a read begins and when it ends: odd while one waits
	unanswered atomic.Int64  // bytes sent since something arrived
	begun      atomic.Bool   // something was sent
	over       atomic.Bool   // a Close frame went either way, or the peer is dead: no pong will come any more

	mu        sync.Mutex
	pingAfter time.Duration // silence before a ping; negative = never
	pongLimit time.Duration // silence after one
	timer     *time.Timer   // nil while there are no pings
	seen      time.Duration // heard, at the last tick
	seenRead  uint64        // reads, at the last tick
	waiting   bool          // a ping is out
	stuck     uint64        // frames, when a frame in progress last kept a ping from going out, or 0
}

// setLimits takes the limits from the options. The caller holds mu, or is the only one to know k.
func (k *keepalive) setLimits(o Options) {
	k.pingAfter, k.pongLimit = o.PingAfter, o.PongLimit
	if o.PingAfter == 0 {
		k.pingAfter = defaultPingAfter
	}
	if o.PongLimit <= 0 {
		k.pongLimit = defaultPongLimit
	}
}

// start begins the wait. A negative pingAfter means no keep-alive.
func (k *keepalive) start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epoch = time.Now()
	if k.pingAfter > 0 {
		k.timer = time.AfterFunc(jittered(k.pingAfter), k.tick)
	}
}

// restart goes on with other limits. A ping that is out is forgotten: it was sent for the old ones.
func (k *keepalive) restart(o Options) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over.Load() {
		return
	}
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	k.setLimits(o)
	k.seen, k.waiting, k.stuck = time.Duration(k.heard.Load()), false, 0
	if k.pingAfter > 0 {
		silence := time.Since(k.epoch) - k.seen
		k.timer = time.AfterFunc(jittered(k.pingAfter)-silence, k.tick)
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
	if k.timer != nil && !k.waiting && k.pingAfter > firstPingAfter {
		k.timer.Reset(jittered(firstPingAfter))
	}
}

// heardReader reads from the carrier and tells its keepalive what it sees.
type heardReader struct {
	carrier io.Reader
	alive   *keepalive
}

func (r heardReader) Read(p []byte) (int, error) {
	r.alive.reads.Add(1)
	n, err := r.carrier.Read(p)
	r.alive.reads.Add(1)
	if n > 0 {
		r.alive.unanswered.Store(0)
		r.alive.heard.Store(int64(time.Since(r.alive.epoch)))
	}
	return n, err
}

// tick looks at what happened since the last one, pings if nothing did, and gives the peer up if nothing came
// of that. It holds mu all the while, for stop to wait.
func (k *keepalive) tick() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer == nil || k.over.Load() {
		return
	}
	heard, reads := time.Duration(k.heard.Load()), k.reads.Load()
	reading, sameRead := reads%2 == 1, reads == k.seenRead
	alive := heard > k.seen
	k.seen, k.seenRead = heard, reads
	switch {
	case alive:
		k.waiting, k.stuck = false, 0
		k.timer.Reset(jittered(k.pingAfter) - (time.Since(k.epoch) - heard))
	case !k.waiting && !k.isStuck():
		k.timer.Reset(k.pongLimit)
	case !reading: // the pong may wait below us; another ping keeps proxies from cutting
		k.waiting = false
		k.timer.Reset(jittered(k.pingAfter))
	case !sameRead || (!k.waiting || k.unanswered.Load() > maxUnanswered) && k.mayBlock():
		k.timer.Reset(k.pongLimit)
	default:
		k.timer = nil
		k.over.Store(true)
		k.dead()
	}
}

// isStuck sends a ping, or reports whether the same frame has kept it from going out since the last tick. The
// caller holds mu.
func (k *keepalive) isStuck() bool {
	before := k.stuck
	k.stuck = 0
	if k.waiting = k.ping(); k.waiting {
		return false
	}
	k.stuck = k.frames() + 1
	return k.stuck == before
}

func jittered(d time.Duration) time.Duration {
	share := 1 + (rand.Float64()*2-1)*jitter //nolint:gosec // spreads load, hides nothing
	return time.Duration(share * float64(d))
}
