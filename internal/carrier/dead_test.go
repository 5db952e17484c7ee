package carrier

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// poolDialer is a mode whose connections are shared.
type poolDialer struct {
	*Pool
	mode Mode
}

func (d *poolDialer) DialCarrier(ctx context.Context, u *url.URL) (transport.StreamConn, error) {
	conn, err := d.Open(ctx, u, nil)
	if err != nil {
		return nil, &Error{Mode: d.mode, Stage: StageHandshake, Err: err}
	}
	return &fakeConn{StreamConn: conn, mode: d.mode}, nil
}

// killers are what happens to a connection while nobody looks.
var killers = map[string]func(s *fakeSession){
	"a network forgot it":         func(s *fakeSession) { s.silent = true },
	"it is reset by the next use": func(s *fakeSession) { s.breaks = true },
}

// onPool is a course where mode has a pool with four sessions before a server.
func onPool(t *testing.T, mode Mode, test func(t *testing.T, c *course, f *fakeServer)) {
	t.Helper()
	onPoolOf(t, mode, defaultConns, test)
}

// onPoolOf is onPool with another number of sessions.
func onPoolOf(
	t *testing.T, mode Mode, conns int, test func(t *testing.T, c *course, f *fakeServer),
) {
	t.Helper()
	modes := slices.Clone(allModes[slices.Index(allModes, mode):])
	onCourse(t, modes, func(t *testing.T, c *course) {
		f := &fakeServer{room: 100}
		pool := &Pool{Dial: f.dial, Spread: Spread{Streams: 1, Conns: conns}}
		defer pool.Close()
		c.Dialers[mode] = &poolDialer{pool, mode}
		c.connect(mode, dialTime)
		for len(f.sessions) < conns {
			c.connect(mode, 0)
			c.pause(dialTime)
		}
		test(t, c, f)
	})
}

// TestDeadConnections: however many connections turn out to be dead, the mode works and is not stepped down
// from.
func TestDeadConnections(t *testing.T) {
	for _, mode := range []Mode{H3, H2} {
		for name, kill := range killers {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				onPool(t, mode, func(t *testing.T, c *course, f *fakeServer) {
					for _, s := range f.sessions {
						s.set(kill)
					}
					start := time.Now()
					if _, err := c.ConnectStream(t.Context()); err != nil {
						t.Errorf("ConnectStream() = %v, want nil", err)
					}
					alone := map[Mode]time.Duration{H3: h3HeadStart, H2: h2HeadStart}[mode]
					if took := time.Since(start); took > alone+10*ms {
						t.Errorf("ConnectStream() took %v, want no more than the head start and 10ms", took)
					}
					c.pause(SuspectAfter + dialTime)
					c.connect(mode, 0)
					if c.log.Len() != 0 {
						t.Errorf("log says:\n%s", c.log.String())
					}
				})
			})
		}
	}
}

// TestDeadConnectionsAndManyFlows: until the new connection is there, flows use the other mode at once.
func TestDeadConnectionsAndManyFlows(t *testing.T) {
	onPoolOf(t, H2, 1, func(t *testing.T, c *course, f *fakeServer) {
		f.sessions[0].set(killers["a network forgot it"])
		var flows sync.WaitGroup
		for range 20 {
			flows.Go(func() { c.connect(H1, h2HeadStart+10*ms) })
		}
		flows.Wait()
		c.connect(H1, 10*ms)
		c.pause(dialTime)
		c.connect(H2, 0)
		if n := f.dials.Load(); n != 2 {
			t.Errorf("dials = %d, want 2: one for all that met the dead session", n)
		}
	})
}

// TestDeadConnectionAndDeadMode: what is wrong with more than the connection is found out.
func TestDeadConnectionAndDeadMode(t *testing.T) {
	onPool(t, H2, func(t *testing.T, c *course, f *fakeServer) {
		for _, s := range f.sessions {
			s.set(killers["a network forgot it"])
		}
		f.err = context.DeadlineExceeded
		c.connect(H1, h2HeadStart+10*ms)
		c.pause(dialTime)
		if !strings.Contains(c.log.String(), `msg="stepped down" carrier=h1 from=h2`) {
			t.Errorf("log does not say that h2 failed:\n%s", c.log.String())
		}
		c.pause(firstTerm / 2)
		c.connect(H1, 10*ms)
	})
}
