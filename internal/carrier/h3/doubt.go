package h3

import (
	"time"

	"github.com/quic-go/quic-go"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

const (
	// minRefusals is how many must come one after the other, and doubtTime how long nothing else may: one may
	// be a packet that took a wrong turn.
	minRefusals = 2
	doubtTime   = time.Second
	// doubtProbes is the same time in probe timeouts, for a slow path: the server was asked at the begin,
	// after one and after three, and had one to answer.
	doubtProbes = 4
	// askPause is how often to ask at most, however many refusals somebody forges.
	askPause = 100 * time.Millisecond
)

// doubt is what refusals make of a connection, or a change of our network: it is suspect until the server
// gives a sign of life, and dead when the server gives none although it was asked. The zero value doubts
// nothing.
type doubt struct {
	packets  uint64    // of the server, when it began
	begun    time.Time // with the first refusal, or with Check
	refusals int
	checked  bool      // it began with Check
	settling bool      // what comes may have waited for us, and is no sign of life
	asked    time.Time // when the server was asked last, in this doubt or an earlier one
}

// refuse takes a refusal and the number of packets that the server has sent so far. It reports whether to ask
// the server now.
func (d *doubt) refuse(packets uint64, now time.Time) (ask bool) {
	if !d.holds(packets) {
		*d = doubt{packets: packets, begun: now, asked: d.asked}
	}
	d.refusals++
	if !d.settling && !d.wasAsked() && now.Sub(d.asked) >= askPause {
		d.asked = now
		return true
	}
	return false
}

// check begins a doubt without a refusal. It settles some time later, and the server is to be asked then.
func (d *doubt) check(now time.Time) {
	*d = doubt{begun: now, refusals: minRefusals, checked: true, settling: true}
}

// settle takes it that what comes from now on is a sign of life, and that the server is asked now. It reports
// false when there is no check to settle.
func (d *doubt) settle(packets uint64, now time.Time) bool {
	if !d.settling {
		return false
	}
	d.packets, d.asked, d.settling = packets, now, false
	return true
}

func (d *doubt) wasAsked() bool { return !d.asked.Before(d.begun) }

// holds reports whether the server has given no sign of life since it was refused.
func (d *doubt) holds(packets uint64) bool {
	return d.refusals > 0 && (d.settling || d.packets == packets)
}

// proves reports whether the server is gone: it had so much time to answer.
func (d *doubt) proves(packets uint64, now time.Time, patience time.Duration) bool {
	return d.holds(packets) && d.refusals >= minRefusals && d.wasAsked() && now.Sub(d.asked) >= patience
}

// doubtFor is how long a doubt may last.
func doubtFor(s quic.ConnectionStats) time.Duration {
	return max(doubtTime, doubtProbes*probeTimeout(s))
}

// refused takes a refusal. If it asks the server for a sign of life, judge is to be called after patience.
func (c *Conn) refused(now time.Time) (patience time.Duration, asked bool) {
	stats := c.link.conn.ConnectionStats()
	c.mu.Lock()
	asked = c.doubt.refuse(stats.PacketsReceived, now)
	c.mu.Unlock()
	if asked {
		c.ping()
	}
	return doubtFor(stats), asked
}

// Check implements carrier.Session.
func (c *Conn) Check() {
	c.mu.Lock()
	c.doubt.check(time.Now())
	c.mu.Unlock()
	select {
	case c.checks <- struct{}{}:
	default:
	}
}

// settled asks the server for the sign of life that a check waits for, if that is due, and returns how long
// to wait.
func (c *Conn) settled(now time.Time) (patience time.Duration, asked bool) {
	stats := c.link.conn.ConnectionStats()
	c.mu.Lock()
	asked = c.doubt.settle(stats.PacketsReceived, now)
	c.mu.Unlock()
	if asked {
		c.ping()
	}
	return max(carrier.CheckTime-carrier.LeftoverTime, doubtFor(stats)), asked
}

// judge ends the connection when the server is gone.
func (c *Conn) judge(now time.Time) {
	stats := c.link.conn.ConnectionStats()
	c.mu.Lock()
	gone := c.doubt.proves(stats.PacketsReceived, now, doubtFor(stats))
	cause := ErrGone
	if c.doubt.checked {
		cause = ErrSilent
	}
	c.mu.Unlock()
	if gone {
		c.fail(cause)
	}
}

// ping sends something that the server's host has to acknowledge, whatever its application does. quic-go
// pings in its own time only, so it is a stream of a kind that means nothing (RFC 9114, section 6.2.3).
// Without leave for one, quic-go asks for more, which is as good.
func (c *Conn) ping() {
	const reserved = 0x21
	s, err := c.link.conn.OpenUniStream()
	if err != nil {
		return
	}
	_, _ = s.Write([]byte{reserved})
	_ = s.Close()
}
