package carrier

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

const (
	ms   = time.Millisecond
	ever = time.Hour
)

// fakeDialer is one mode.
type fakeDialer struct {
	mode  Mode
	takes time.Duration
	err   error // what it ends with; nil: a connection

	mu    sync.Mutex
	calls int
	now   int // calls under way
	conns []*fakeConn
}

// fakeConn knows which mode it came from.
type fakeConn struct {
	transport.StreamConn
	mode   Mode
	closed bool
}

func (c *fakeConn) Close() error {
	c.closed = true
	return nil
}

func (d *fakeDialer) DialCarrier(ctx context.Context, _ *url.URL) (transport.StreamConn, error) {
	d.mu.Lock()
	d.calls++
	d.now++
	takes, err := d.takes, d.err
	d.mu.Unlock()
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now--
	if err != nil {
		return nil, &Error{Mode: d.mode, Stage: StageConnect, Err: err}
	}
	a, _ := transporttest.Pipe()
	c := &fakeConn{StreamConn: a, mode: d.mode}
	d.conns = append(d.conns, c)
	return c, nil
}

// set changes a dialer for the calls to come.
func (d *fakeDialer) set(takes time.Duration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.takes, d.err = takes, err
}

func (d *fakeDialer) counts() (calls, now int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls, d.now
}

// course is an endpoint with fakes for h3, h2 and h1.
type course struct {
	*Endpoint
	t          *testing.T
	h3, h2, h1 *fakeDialer
	log        bytes.Buffer
}

// onCourse runs a test in a bubble. Every dialer connects in 10 ms until the test says otherwise.
func onCourse(t *testing.T, modes []Mode, test func(t *testing.T, c *course)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &course{t: t}
		dialers := make(map[Mode]Dialer)
		for mode, d := range map[Mode]**fakeDialer{H3: &c.h3, H2: &c.h2, H1: &c.h1} {
			*d = &fakeDialer{mode: mode, takes: 10 * ms}
			dialers[mode] = *d
		}
		u := &url.URL{Scheme: "wss", Host: "example.com", Path: "/secret"}
		c.Endpoint = &Endpoint{Target: Target{URL: u, Modes: modes}, Dialers: dialers}
		c.Logger = slog.New(slog.NewTextHandler(&c.log, nil))
		defer func() {
			_ = c.Close()
			for _, d := range []*fakeDialer{c.h3, c.h2, c.h1} {
				if _, now := d.counts(); now != 0 {
					t.Errorf("%v: %d dials under way after Close()", d.mode, now)
				}
			}
		}()
		test(t, c)
	})
}

var allModes = []Mode{H3, H2, H1}

// connect wants a connection by a mode after some time.
func (c *course) connect(mode Mode, after time.Duration) {
	c.t.Helper()
	start := time.Now()
	conn, err := c.ConnectStream(context.Background())
	took := time.Since(start)
	if err != nil {
		c.t.Errorf("ConnectStream() = %v after %v, want %v after %v", err, took, mode, after)
		return
	}
	got := conn.(*fakeConn)
	if got.mode != mode || took != after || got.closed {
		c.t.Errorf("ConnectStream() = %v after %v, want %v after %v", got.mode, took, mode, after)
	}
}

// pause lets time pass.
func (c *course) pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestBestModeWins(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		for range 3 {
			c.connect(H3, 10*ms)
		}
		if n, _ := c.h2.counts(); n != 0 {
			t.Errorf("dials by h2 = %d, want 0", n)
		}
	})
}

func TestUDPIsBlocked(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		c.h3.set(ever, nil)
		c.connect(H2, h3HeadStart+10*ms)
		c.connect(H2, 10*ms)
		c.pause(tryTime + firstTerm)
		c.connect(H2, 10*ms) // and looks at h3
		c.pause(ms)
		if n, _ := c.h3.counts(); n != 2 {
			t.Errorf("dials by h3 = %d, want 2", n)
		}
		c.connect(H2, 10*ms)
		c.pause(tryTime) // the look has failed, and the term is two minutes now
		c.h3.set(10*ms, nil)
		c.connect(H2, 10*ms)
		c.pause(2*firstTerm - 100*ms)
		c.connect(H2, 10*ms)
		if n, _ := c.h3.counts(); n != 2 {
			t.Errorf("dials by h3 = %d within its term, want 2", n)
		}
		c.pause(100 * ms)
		c.connect(H2, 10*ms) // and looks again
		c.pause(10 * ms)
		c.connect(H3, 10*ms)
		if looked := c.h3.conns[0]; !looked.closed {
			t.Error("the connection of a look was not closed")
		}
		if n := strings.Count(c.log.String(), `msg="carrier works again" carrier=h3`); n != 1 {
			t.Errorf("log says %d times that h3 is back, want once:\n%s", n, c.log.String())
		}
		if strings.Contains(c.log.String(), "secret") {
			t.Errorf("log holds the path:\n%s", c.log.String())
		}
	})
}

func TestModeThatFailsAtOnce(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		c.h3.set(0, errors.New("blocked"))
		c.connect(H2, 10*ms)
		c.connect(H2, 10*ms)
		if n, _ := c.h3.counts(); n != 1 {
			t.Errorf("dials by h3 = %d, want 1", n)
		}
		if n := strings.Count(c.log.String(), `msg="stepped down" carrier=h2 from=h3`); n != 1 {
			t.Errorf("log says %d times that h3 failed, want once:\n%s", n, c.log.String())
		}
	})
}

func TestOnlyTheLastModeWorks(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		c.h3.set(ever, nil)
		c.h2.set(ever, nil)
		c.connect(H1, h3HeadStart+h2HeadStart+10*ms)
		c.connect(H1, 10*ms)
	})
}

func TestAllModesFail(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		errs := []error{errors.New("three"), errors.New("two"), errors.New("one")}
		c.h3.set(ever, nil)
		c.h2.set(5*ms, errs[1])
		c.h1.set(5*ms, errs[2])
		start := time.Now()
		_, err := c.ConnectStream(t.Context())
		if took := time.Since(start); took != tryTime {
			t.Errorf("ConnectStream() took %v, want %v", took, tryTime)
		}
		c.h3.set(0, errs[0])
		_, err2 := c.ConnectStream(t.Context())
		for _, want := range []error{context.DeadlineExceeded, errs[1], errs[2]} {
			if !errors.Is(err, want) {
				t.Errorf("ConnectStream() = %v, want %v in it", err, want)
			}
		}
		for _, want := range errs {
			if !errors.Is(err2, want) {
				t.Errorf("ConnectStream() = %v, want %v in it", err2, want)
			}
		}
		c.h3.set(10*ms, nil) // when all failed it may have been the network
		c.connect(H3, 10*ms)
	})
}

func TestDeadModeIsTriedWhenAllElseFails(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		c.h3.set(0, errors.New("blocked"))
		c.connect(H2, 10*ms)
		c.h3.set(10*ms, nil)
		c.h2.set(5*ms, errors.New("reset"))
		c.h1.set(5*ms, errors.New("reset"))
		c.connect(H3, 20*ms)
		c.connect(H3, 10*ms)
	})
}

func TestConnectIsCancelled(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		c.h3.set(ever, nil)
		c.h2.set(ever, nil)
		ctx, cancel := context.WithTimeout(context.Background(), 300*ms)
		defer cancel()
		start := time.Now()
		_, err := c.ConnectStream(ctx)
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 300*ms {
			t.Errorf("ConnectStream() = %v after %v, want a deadline's error after 300ms", err, took)
		}
		if failure, ok := errors.AsType[*Error](err); !ok || failure.Mode != H2 {
			t.Errorf("ConnectStream() = %v, want an *Error of h2", err)
		}
		synctest.Wait()
		if _, now := c.h3.counts(); now != 0 {
			t.Errorf("h3: %d dials under way after the cancellation, want 0", now)
		}
		for range 50 {
			if _, err := c.ConnectStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("ConnectStream() of a context that is over = %v", err)
			}
		}
	})
}

func TestStrictMode(t *testing.T) {
	onCourse(t, []Mode{H3}, func(t *testing.T, c *course) {
		c.connect(H3, 10*ms)
		cause := errors.New("server does not announce extended CONNECT")
		c.h3.set(ms, cause)
		for range 2 {
			start := time.Now()
			_, err := c.ConnectStream(t.Context())
			if took := time.Since(start); !errors.Is(err, cause) || took != ms {
				t.Errorf("ConnectStream() = %v after %v, want %v after 1ms", err, took, cause)
			}
		}
		for _, d := range []*fakeDialer{c.h2, c.h1} {
			if n, _ := d.counts(); n != 0 {
				t.Errorf("dials by %v = %d, want 0", d.mode, n)
			}
		}
	})
}

func TestModesOfThisBuild(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		delete(c.Dialers, H3)
		c.connect(H2, 10*ms)
		clear(c.Dialers)
		if _, err := c.ConnectStream(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("ConnectStream() = %v, want %v", err, ErrUnavailable)
		}
	})
}

func TestManyFlowsRace(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		c.h3.set(ever, nil)
		var flows sync.WaitGroup
		for range 100 {
			flows.Go(func() { c.connect(H2, h3HeadStart+10*ms) })
		}
		flows.Wait()
		flows.Go(func() { c.connect(H2, 10*ms) })
		flows.Wait()
		c.pause(tryTime + firstTerm)
		before, _ := c.h3.counts()
		for range 100 {
			flows.Go(func() { c.connect(H2, 10*ms) })
		}
		flows.Wait()
		if after, _ := c.h3.counts(); after != before+1 {
			t.Errorf("dials by h3 after its term = %d, want 1", after-before)
		}
	})
}

func TestEndpointClose(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		for _, d := range []*fakeDialer{c.h3, c.h2, c.h1} {
			d.set(ever, nil)
		}
		dialled := make(chan error)
		go func() {
			_, err := c.ConnectStream(context.Background())
			dialled <- err
		}()
		c.pause(300 * ms)
		start := time.Now()
		closed := make(chan struct{})
		go func() {
			_ = c.Close()
			close(closed)
		}()
		if err := <-dialled; err == nil {
			t.Error("ConnectStream() during Close() = nil")
		}
		<-closed
		if took := time.Since(start); took != 0 {
			t.Errorf("Close() took %v, want 0", took)
		}
		if c.log.Len() != 0 {
			t.Errorf("log says:\n%s", c.log.String())
		}
		if _, err := c.ConnectStream(context.Background()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ConnectStream() after Close() = %v, want %v", err, net.ErrClosed)
		}
	})
}
