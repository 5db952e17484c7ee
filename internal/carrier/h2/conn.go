package h2

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

// goodbyeTime bounds what a connection that ends may still send.
const goodbyeTime = time.Second

// Options are the choices of a connection. The zero value is usable.
type Options struct {
	Budget *Budget      // shared by the connections of the program; nil lets no window grow
	Logger *slog.Logger // told of wire events at level debug; nil logs nothing
}

// Conn is one HTTP/2 connection. Its methods may be called concurrently.
//
//	open --GOAWAY--> draining --last stream ends--> closed
//	open, draining --error, Close--> closed
type Conn struct {
	net    net.Conn // TLS
	out    *output
	budget *Budget
	log    *slog.Logger
	debug  bool

	done    chan struct{} // closed when the connection ends
	ready   chan struct{} // closed with the server's first SETTINGS
	checks  chan struct{} // holds a token after Check
	workers sync.WaitGroup

	enc    *hpack.Encoder // used by whoever has out's turn
	encBuf bytes.Buffer

	mu       sync.Mutex
	err      error // why the connection ended
	peer     peerSettings
	settled  bool // the server's first SETTINGS came
	streams  map[uint32]*Stream
	nextID   uint32
	draining bool
	sendLeft int64     // what we may still send
	starved  []*Stream // wait for it, first come first served
	recvLeft int64     // what the server may still send
	recvOwed int64     // arrived and not credited yet
	rtt      time.Duration
	measured time.Time // when rtt was, or was to be
	pings    uint64    // sent so far
	pingSent time.Time // when the last one was; zero once it is answered
	asked    time.Time // when a stream was opened first since the last bytes came
	checked  time.Time // when Check was called last; zero once it is answered
	question uint64    // the ping that it sent
	heard    time.Time // when the last bytes came
	meter    meter
	idle     time.Time     // since when there are no streams
	retired  chan struct{} // holds a token when a draining connection has lost its last stream

	in reading // used by the reading goroutine alone
}

// NewConn starts HTTP/2 on a connection whose TLS handshake chose it. Open waits until it is usable. The Conn
// owns c.
func NewConn(c net.Conn, o Options) *Conn {
	h := &Conn{
		net:      c,
		budget:   o.Budget,
		log:      o.Logger,
		done:     make(chan struct{}),
		ready:    make(chan struct{}),
		checks:   make(chan struct{}, 1),
		peer:     defaultSettings(),
		streams:  make(map[uint32]*Stream),
		nextID:   1,
		sendLeft: defaultWindow,
		recvLeft: connWindow,
		heard:    time.Now(),
		idle:     time.Now(),
		retired:  make(chan struct{}, 1),
	}
	if h.budget == nil {
		h.budget = NewBudget(0)
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.out = newOutput(c, h.done)
	if h.debug = h.log.Enabled(context.Background(), slog.LevelDebug); h.debug {
		h.out.trace = func(f frameHeader) { h.traceFrame("sent", f) }
	}
	h.enc = hpack.NewEncoder(&h.encBuf)
	h.enc.SetMaxDynamicTableSize(0) // requests are few and hold secrets: nothing is worth remembering
	h.in.init(h)
	h.out.turn <- struct{}{} // greet's: nothing goes out before the preface, however fast the server is
	h.workers.Go(func() { h.fail(h.greet()) })
	h.workers.Go(func() { h.fail(h.read()) })
	h.workers.Go(h.watch)
	return h
}

// greet sends our preface, SETTINGS and the connection's window in one write, and then whatever the
// connection itself has to say. NewConn took the turn for it.
func (c *Conn) greet() error {
	hello := appendOurSettings([]byte(preface), c.budget.base)
	hello = appendWindowUpdate(hello, 0, connWindow-defaultWindow)
	_, err := c.net.Write(hello)
	c.out.end()
	if err != nil {
		return err
	}
	return c.out.serve()
}

// Ready waits until the server's SETTINGS are there and say that it takes WebSockets.
func (c *Conn) Ready(ctx context.Context) error {
	select {
	case <-c.ready:
	case <-c.done:
		return c.reason()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.peer.connect {
		return ErrNoConnect
	}
	return nil
}

// Usable reports whether another stream can be opened.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.draining && c.nextID < maxWindow
}

// Load implements carrier.Session.
func (c *Conn) Load() carrier.Load {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.streams)
	return carrier.Load{Streams: n, Room: int64(n) < int64(c.peer.maxStreams), Busy: c.meter.busy(time.Now())}
}

// IdleSince is when the last stream ended; the zero time while there are streams.
func (c *Conn) IdleSince() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idle
}

// Ended reports whether the connection is over.
func (c *Conn) Ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Close ends the connection with all its streams, and waits for its goroutines.
func (c *Conn) Close() error {
	c.fail(errClosed)
	c.workers.Wait()
	return nil
}

// reason is why the connection ended.
func (c *Conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail ends the connection: the server is told why if it is to blame, and all streams break. A nil err means
// nothing. The caller has neither mu nor the turn.
func (c *Conn) fail(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	for _, s := range c.streams {
		s.breakLocked(err)
		c.forget(s)
	}
	close(c.done)
	c.mu.Unlock()
	if c.debug {
		c.log.Debug("h2 connection ended", "err", err)
	}
	c.sayGoodbye(err)
	_ = c.net.Close()
}

// sayGoodbye sends what waits and a GOAWAY. Whoever is in the middle of a frame ends it within the same time.
func (c *Conn) sayGoodbye(err error) {
	code := CodeNo
	if e, ok := errors.AsType[*violation](err); ok {
		code = e.code
	}
	_ = c.net.SetWriteDeadline(time.Now().Add(goodbyeTime))
	c.out.turn <- struct{}{}
	defer c.out.end()
	_ = c.out.flush(appendGoAway(nil, code))
}

// traceFrame logs a frame at level debug.
func (c *Conn) traceFrame(dir string, h frameHeader) {
	c.log.Debug("h2 frame", "dir", dir, "frame", h.kind.String(), "stream", h.stream, "flags", h.flags,
		"len", h.length)
}

// forget drops a stream that is over. The caller holds mu.
func (c *Conn) forget(s *Stream) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if len(c.streams) == 0 {
		c.idle = time.Now()
		c.retireLocked()
	}
}

// retireLocked has a draining connection without streams ended. The caller holds mu.
func (c *Conn) retireLocked() {
	if c.draining && len(c.streams) == 0 {
		signal(c.retired)
	}
}
