package h3

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

const (
	// silentTicks is how many looks in a row, two for each keep-alive, may find nothing new before a
	// connection is dead: it is found 8 to 10 s after its last packet.
	silentTicks = 4
	// bulkVolume is how much must move between two looks for a connection to be busy. Others are better off
	// beside it: a connection is worked on by one core, and what lies unread counts against all its streams.
	bulkVolume = 1 << 20
	// maxHeader bounds a response's head.
	maxHeader = 64 << 10
)

// Conn is one HTTP/3 connection. Its methods may be called concurrently.
//
//	open --GOAWAY--> draining --last stream ends--> closed
//	open, draining --error, Close--> closed
type Conn struct {
	link    *link
	http    *http3.RawClientConn
	log     *slog.Logger
	debug   bool
	done    <-chan struct{} // closed when the connection ends
	checks  chan struct{}   // holds a token after Check
	workers sync.WaitGroup

	mu       sync.Mutex
	err      error     // why we ended the connection
	over     bool      // nothing may be started any more
	draining bool      // the server takes no more streams
	streams  int       // open, opening and lingering ones
	full     time.Time // until when there is no room
	idle     time.Time // since when there are no streams
	moved    volume
	asked    time.Time // when a stream was opened first since the last packet came
	askedAt  uint64    // packets that had come by then
	doubt    doubt
}

// newConn starts HTTP/3 on a connection, which it owns.
func newConn(l *link, d *Dialer) *Conn {
	t := http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxHeader}
	c := &Conn{
		link:   l,
		http:   t.NewRawClientConn(l.conn),
		log:    d.log,
		debug:  d.debug,
		done:   l.conn.Context().Done(),
		checks: make(chan struct{}, 1),
		idle:   time.Now(),
	}
	every := d.quic.KeepAlivePeriod / 2
	c.workers.Go(func() { c.watch(every) })
	c.workers.Go(c.accept)
	return c
}

// accept takes the server's streams: SETTINGS, GOAWAY, and the header compression that we do not use.
func (c *Conn) accept() {
	for {
		s, err := c.link.conn.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		c.workers.Go(func() { c.http.HandleUnidirectionalStream(s) })
	}
}

// ready waits until the server's SETTINGS are there and say that it takes WebSockets.
func (c *Conn) ready(ctx context.Context) error {
	select {
	case <-c.http.ReceivedSettings():
	case <-c.done:
		return c.lost()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if c.debug {
		s := c.http.Settings()
		c.log.DebugContext(ctx, "h3 server settings",
			"connect", s.EnableExtendedConnect, "datagrams", s.EnableDatagrams)
	}
	if !c.http.Settings().EnableExtendedConnect {
		return ErrNoConnect
	}
	return nil
}

// watch ends a connection whose server is silent or gone, and frees the socket of one that has ended.
func (c *Conn) watch(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	verdict := time.NewTimer(time.Hour)
	verdict.Stop()
	var s silence
	for {
		select {
		case <-c.done:
			c.bury()
			return
		case <-c.link.socket.refusals.came:
			if patience, asked := c.refused(time.Now()); asked {
				verdict.Reset(patience)
			} else {
				c.judge(time.Now()) // it may have been one too few when the time was up
			}
		case <-c.checks:
			verdict.Reset(carrier.LeftoverTime)
		case <-verdict.C:
			now := time.Now()
			if patience, asked := c.settled(now); asked {
				verdict.Reset(patience)
			} else {
				c.judge(now)
			}
		case <-ticker.C:
			stats := c.link.conn.ConnectionStats()
			c.mu.Lock()
			c.moved.tick(stats.BytesSent + stats.BytesReceived)
			c.mu.Unlock()
			if s.lasts(stats.PacketsReceived, patienceFor(stats, every)) {
				c.fail(ErrSilent)
			}
		}
	}
}

// bury does what is left for a connection that has ended.
func (c *Conn) bury() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	if c.debug {
		c.log.Debug("h3 connection ended", "err", c.lost())
	}
	c.link.close()
}

// ask notes that a stream is opened, which the server's host acknowledges whatever its application does.
func (c *Conn) ask(now time.Time) {
	packets := c.link.conn.ConnectionStats().PacketsReceived
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked.IsZero() || c.askedAt != packets {
		c.asked, c.askedAt = now, packets
	}
}

// Suspect implements carrier.Session.
func (c *Conn) Suspect() bool {
	stats := c.link.conn.ConnectionStats()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.doubt.holds(stats.PacketsReceived) {
		return true
	}
	limit := max(carrier.SuspectAfter, 2*stats.SmoothedRTT)
	return !c.asked.IsZero() && c.askedAt == stats.PacketsReceived && time.Since(c.asked) >= limit
}

// silence counts looks at a connection that find nothing new.
type silence struct {
	packets uint64
	ticks   int
}

// lasts takes the number of packets that have come so far and how many looks to wait, and reports whether the
// connection is dead.
func (s *silence) lasts(packets uint64, looks int) bool {
	if packets != s.packets {
		*s = silence{packets: packets}
		return false
	}
	s.ticks++
	return s.ticks >= looks
}

// patienceFor is how many looks a silence may last. On a path so slow that quic-go itself waits longer with
// its keep-alive, it is more than one and a half probe timeouts for that, and one for the answer.
func patienceFor(s quic.ConnectionStats, every time.Duration) int {
	return max(silentTicks, int(4*probeTimeout(s)/every)+1)
}

// probeTimeout is how long to wait for an acknowledgement (RFC 9002, section 6.2.1). One that waited while
// the program was stopped makes quic-go believe in a path of minutes; what no path takes is not believed.
func probeTimeout(s quic.ConnectionStats) time.Duration {
	const maxAckDelay, believable = 25 * time.Millisecond, 10 * time.Second
	timeout := s.SmoothedRTT + 4*s.MeanDeviation + maxAckDelay
	if timeout > believable {
		timeout = 2*s.MinRTT + maxAckDelay
	}
	return timeout
}

// volume is what a connection moves between two looks.
type volume struct {
	base uint64 // the total at the last look
	last uint64 // between the last look and the one before
}

// tick takes the total so far.
func (v *volume) tick(total uint64) { v.last, v.base = total-v.base, total }

// bulk reports whether much is moving.
func (v *volume) bulk(total uint64) bool { return max(v.last, total-v.base) >= bulkVolume }

// fail ends the connection with all its streams.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil && !c.Ended() {
		c.err = err
	}
	c.mu.Unlock()
	_ = c.link.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// lost is why the connection ended; nil while it has not.
func (c *Conn) lost() error {
	if !c.Ended() {
		return nil
	}
	return c.because(context.Cause(c.link.conn.Context()))
}

// because is err with our own reason in its place, if we had one.
func (c *Conn) because(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		err = c.err
	}
	return &ConnError{err}
}

// start runs f unless the connection is over, and reports whether it does. Close waits for it.
func (c *Conn) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.workers.Go(f)
	}
	return !c.over
}

// Usable implements carrier.Session.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.draining && !c.Ended()
}

// Load implements carrier.Session. There is no room shortly after a stream waited for the server's leave in
// vain.
func (c *Conn) Load() carrier.Load {
	stats := c.link.conn.ConnectionStats()
	c.mu.Lock()
	defer c.mu.Unlock()
	return carrier.Load{
		Streams: c.streams,
		Room:    time.Now().After(c.full),
		Busy:    c.moved.bulk(stats.BytesSent + stats.BytesReceived),
	}
}

// IdleSince implements carrier.Session.
func (c *Conn) IdleSince() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idle
}

// Ended implements carrier.Session.
func (c *Conn) Ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Close implements carrier.Session.
func (c *Conn) Close() error {
	c.fail(errClosed)
	c.workers.Wait()
	return nil
}

// count adds streams that open, or takes off those that did not.
func (c *Conn) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.countLocked(n)
}

func (c *Conn) countLocked(n int) {
	c.streams += n
	c.idle = time.Time{}
	if c.streams == 0 {
		c.idle = time.Now()
	}
}

// release forgets a stream that is over. Where it was there is room again.
func (c *Conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.countLocked(-1)
	c.full = time.Time{}
}
