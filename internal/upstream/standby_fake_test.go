package upstream

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// openTime is how long fakeNet takes to open a connection.
const openTime = 300 * time.Millisecond

var errRefused = errors.New("refused")

// fakeNet opens fake connections and remembers them. Dials of standby are those that want a keep-alive of its
// own.
type fakeNet struct {
	mu     sync.Mutex
	fail   bool          // refuse
	life   time.Duration // after which the server drops a connection; 0 = never
	dials  []time.Time   // of standby
	busy   int           // dials of standby under way
	most   int           // the most at a time
	direct int           // dials of flows
	conns  []*fakeConn   // in the order in which they opened
}

func (n *fakeNet) open(ctx context.Context, o websocket.Options) (*fakeConn, error) {
	standby := o.PingAfter == defaultStandbyPing
	n.mu.Lock()
	if standby {
		n.dials = append(n.dials, time.Now())
		n.busy++
		n.most = max(n.most, n.busy)
	} else {
		n.direct++
	}
	n.mu.Unlock()
	var err error
	select {
	case <-time.After(openTime):
	case <-ctx.Done():
		err = ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if standby {
		n.busy--
	}
	if n.fail {
		err = errRefused
	}
	if err != nil {
		return nil, err
	}
	c := &fakeConn{born: time.Now(), options: o}
	if n.life > 0 {
		time.AfterFunc(n.life, func() { c.end(io.ErrUnexpectedEOF) })
	}
	c.changed = sync.NewCond(&c.mu)
	n.conns = append(n.conns, c)
	return c, nil
}

func (n *fakeNet) set(change func(n *fakeNet)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

// all are the connections so far.
func (n *fakeNet) all() []*fakeConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.conns)
}

// fakeConn is a connection that does nothing.
type fakeConn struct {
	born time.Time

	mu       sync.Mutex
	changed  *sync.Cond
	options  websocket.Options
	deadline time.Time
	spoke    bool  // data came
	err      error // what reading meets
	strained bool
	left     time.Time // when Leave was called
	closed   bool
}

func (c *fakeConn) set(change func(c *fakeConn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
	c.changed.Broadcast()
}

func (c *fakeConn) end(err error) { c.set(func(c *fakeConn) { c.err = err }) }

func (c *fakeConn) WaitRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.spoke:
			return nil
		case c.err != nil:
			return c.err
		case !c.deadline.IsZero():
			return os.ErrDeadlineExceeded
		}
		c.changed.Wait()
	}
}

func (c *fakeConn) SetReadDeadline(t time.Time) error {
	c.set(func(c *fakeConn) { c.deadline = t })
	return nil
}

func (c *fakeConn) SetKeepAlive(o websocket.Options) { c.set(func(c *fakeConn) { c.options = o }) }

func (c *fakeConn) Strained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.strained
}

func (c *fakeConn) Leave() { c.set(func(c *fakeConn) { c.left = time.Now() }) }

func (c *fakeConn) Close() error {
	c.set(func(c *fakeConn) { c.closed = true })
	return nil
}

// gone reports whether the connection was given up in either way.
func (c *fakeConn) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || !c.left.IsZero()
}

// inBubble runs a test in virtual time, with standby over a fake network.
func inBubble(t *testing.T, test func(t *testing.T, n *fakeNet, s *standby[*fakeConn])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := new(fakeNet)
		s := newStandby(Config{Standby: Standby{Keepalive: true}}, n.open)
		defer s.Close()
		test(t, n, s)
	})
}

// warmUp keeps so many ready and waits until they are.
func warmUp(t *testing.T, s *standby[*fakeConn], n int) {
	t.Helper()
	s.Keep(n)
	time.Sleep(openTime)
	wantReady(t, s, n)
}

func wantReady(t *testing.T, s *standby[*fakeConn], n int) {
	t.Helper()
	synctest.Wait()
	if got := s.Ready(); got != n {
		t.Errorf("Ready() = %d, want %d", got, n)
	}
}

// flow connects and demands a connection that is in order. It returns how long that took.
func flow(t *testing.T, s *standby[*fakeConn]) (*fakeConn, time.Duration) {
	t.Helper()
	began := time.Now()
	c, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadline.IsZero() || c.options.PingAfter != 0 || c.err != nil || c.closed || !c.left.IsZero() {
		t.Errorf("handed out in a wrong state: %+v", c)
	}
	return c, time.Since(began)
}
