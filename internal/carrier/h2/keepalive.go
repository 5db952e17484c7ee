package h2

import (
	"encoding/binary"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

const (
	// pingAfter is the silence after which a connection with streams is pinged, and pongLimit the silence
	// after that by which it is dead.
	pingAfter = 5 * time.Second
	pongLimit = 5 * time.Second
	// idlePingAfter is pingAfter of a connection without streams: often enough for every proxy in between.
	idlePingAfter = 30 * time.Second
	// measureAfter is how old a measurement of the round trip may be while windows depend on it.
	measureAfter = time.Second
	// stallLimit is how long the server may take nothing of a frame, whatever it sends meanwhile.
	stallLimit = time.Minute
	// slowTrips is CheckTime in round trips, for a slow path.
	slowTrips = 4
)

// watch pings a silent connection, and ends one that does not answer or has nothing left to do.
func (c *Conn) watch() {
	timer := time.NewTimer(pingAfter)
	defer timer.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-c.retired:
			c.fail(errClosed)
			continue
		case <-c.checks:
		case <-timer.C:
		}
		wait, err := c.check(time.Now())
		if err != nil {
			c.fail(err)
			return
		}
		timer.Reset(wait)
	}
}

// check decides what a silent connection needs, and when to look again. A server that takes what we send is
// alive although its answer to a ping is held up behind that.
func (c *Conn) check(now time.Time) (wait time.Duration, err error) {
	began, alive := c.out.progress()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard.After(alive) {
		alive = c.heard
	}
	after := pingAfter
	if len(c.streams) == 0 {
		after = idlePingAfter
	}
	silence := now.Sub(alive)
	switch {
	case !began.IsZero() && now.Sub(began) >= stallLimit:
		return 0, ErrStalled
	case c.unanswered(alive):
		if left := max(carrier.CheckTime, slowTrips*c.rtt) - now.Sub(c.checked); left > 0 {
			return left, nil
		}
		return 0, ErrPingTimeout
	case c.pingSent.After(alive):
		if left := pongLimit - now.Sub(c.pingSent); left > 0 {
			return left, nil
		}
		return 0, ErrPingTimeout
	case silence < after:
		return min(after-silence, pingAfter), nil
	}
	return pongLimit, c.pingLocked(now)
}

// pingIfSilentLocked has a new stream find out soon whether its connection is still there. The caller holds
// mu.
func (c *Conn) pingIfSilentLocked(now time.Time) error {
	if now.Sub(c.heard) < pingAfter || c.pingSent.After(c.heard) {
		return nil
	}
	return c.pingLocked(now)
}

// ask notes that a stream is opened. The first one that nothing has come after counts: one after another must
// not make a dead connection look young, nor one that waits for its turn behind an upload that went nowhere.
func (c *Conn) ask(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked.After(c.heard) {
		c.asked = now
	}
}

// Suspect implements carrier.Session. A ping, sent at half time, tells a silent connection from a server that
// takes its time with the answer to a stream.
func (c *Conn) Suspect() bool {
	c.mu.Lock()
	if c.err == nil && c.unanswered(c.heard) {
		c.mu.Unlock()
		return true
	}
	now := time.Now()
	half := max(carrier.SuspectAfter, 2*c.rtt) / 2
	silence := now.Sub(c.asked)
	silent := c.err == nil && c.asked.After(c.heard) && silence >= half
	if !silent || c.pingSent.After(c.heard) {
		defer c.mu.Unlock()
		return silent && silence >= 2*half && now.Sub(c.pingSent) >= half
	}
	err := c.pingLocked(now)
	c.mu.Unlock()
	c.fail(err)
	return false
}

// Check implements carrier.Session.
func (c *Conn) Check() {
	c.mu.Lock()
	now := time.Now()
	err := c.pingLocked(now)
	c.checked, c.question = now, c.pings
	c.mu.Unlock()
	c.fail(err)
	signal(c.checks)
}

// unanswered reports whether there is no sign of life since Check, of which the last one was at a time. The
// caller holds mu.
func (c *Conn) unanswered(alive time.Time) bool {
	return !c.checked.IsZero() && !alive.After(c.checked.Add(carrier.LeftoverTime))
}

// pingLocked sends a ping. The caller holds mu.
func (c *Conn) pingLocked(now time.Time) error {
	c.pingSent = now
	c.pings++
	var data [8]byte
	binary.BigEndian.PutUint64(data[:], c.pings)
	return c.out.queue(func(b []byte) []byte { return appendPing(b, 0, data) })
}

// measureLocked has the round trip measured again when that was long ago: a path that became longer needs
// larger windows. The caller holds mu, and ends the connection if it fails.
func (c *Conn) measureLocked() error {
	now := time.Now()
	if now.Sub(c.measured) < measureAfter || !c.pingSent.IsZero() {
		return nil
	}
	c.measured = now // also when the answer is lost
	return c.pingLocked(now)
}

// pong takes the answer to our last ping as a measurement of the round trip.
func (c *Conn) pong(data [8]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ping := binary.BigEndian.Uint64(data[:])
	if ping >= c.question {
		c.checked = time.Time{}
	}
	if c.pingSent.IsZero() || ping != c.pings {
		return
	}
	now := time.Now()
	sample := now.Sub(c.pingSent)
	c.pingSent, c.measured = time.Time{}, now
	if sample > pongLimit {
		return // the program was stopped meanwhile
	}
	if c.rtt == 0 || sample < c.rtt {
		c.rtt = sample
		return
	}
	c.rtt += (sample - c.rtt) / 4
}
