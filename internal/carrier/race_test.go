package carrier

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A mode that is late has worked all the same: its connection is there for the next flow, and nobody stepped
// down.
func TestLateWinner(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		c.h3.set(time.Second, nil)
		c.connect(H2, h3HeadStart+10*ms)
		c.connect(H2, 10*ms) // while h3 is still trying
		c.pause(time.Second)
		if !c.h3.conns[0].closed {
			t.Error("the late connection was not closed")
		}
		c.h3.set(0, nil) // which has a connection now
		c.connect(H3, 0)
		if c.log.Len() != 0 {
			t.Errorf("log says:\n%s", c.log.String())
		}
	})
}

// A mode that is late is known not to work when its attempt has ended, and no flow waits for it meanwhile.
func TestLateModeFails(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		const cause = "no answer"
		c.h3.set(4*time.Second, errors.New(cause))
		start := time.Now()
		c.connect(H2, h3HeadStart+10*ms)
		c.h3.set(10*ms, nil)
		for time.Since(start) < 4*time.Second {
			if c.log.Len() != 0 {
				t.Errorf("log says after %v:\n%s", time.Since(start), c.log.String())
			}
			c.connect(H2, 10*ms)
			c.pause(100 * ms)
		}
		if n := strings.Count(c.log.String(), `msg="stepped down" carrier=h2 from=h3`); n != 1 {
			t.Errorf("log says %d times that h3 failed, want once:\n%s", n, c.log.String())
		}
		c.pause(firstTerm - time.Second)
		c.connect(H2, 10*ms)
		if n, _ := c.h3.counts(); n != 1 {
			t.Errorf("dials by h3 = %d within its term, want 1", n)
		}
	})
}

// A late failure is old news when the mode has worked since.
func TestLateFailureOfAModeThatWorks(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		var flows sync.WaitGroup
		c.h3.set(4*time.Second, errors.New("no answer"))
		flows.Go(func() { c.connect(H2, h3HeadStart+10*ms) })
		synctest.Wait()
		c.h3.set(time.Second, nil)
		flows.Go(func() { c.connect(H2, h3HeadStart+10*ms) })
		flows.Wait()
		c.pause(5 * time.Second)
		c.h3.set(10*ms, nil)
		c.connect(H3, 10*ms)
	})
}

// A worse mode that lost is given up and says nothing about itself.
func TestWorseModeIsGivenUp(t *testing.T) {
	onCourse(t, allModes, func(t *testing.T, c *course) {
		c.h3.set(h3HeadStart+100*ms, nil)
		c.h2.set(ever, nil)
		c.connect(H3, h3HeadStart+100*ms)
		synctest.Wait()
		if n, now := c.h2.counts(); n != 1 || now != 0 {
			t.Errorf("h2: %d dials, %d under way, want 1 that was given up", n, now)
		}
		c.h3.set(0, errors.New("blocked"))
		c.h2.set(10*ms, nil)
		c.connect(H2, 10*ms)
	})
}
