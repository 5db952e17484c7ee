package carrier

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	tests := []struct {
		name string
		took []time.Duration
		want time.Duration
	}{
		{"nothing is known", nil, 0},
		{"one opening", []time.Duration{200}, 300},
		{"the first one took a connection", []time.Duration{900, 300}, 450},
		{"one took a new connection", []time.Duration{300, 300, 1300, 300}, 450},
		{"moods", []time.Duration{200, 400, 300, 350, 250}, 450},
		{"the last five count", []time.Duration{1, 1, 1, 1, 1, 400, 400, 400}, 600},
		{"not yet", []time.Duration{1, 1, 1, 1, 1, 400, 400}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p pace
			now := time.Unix(1e9, 0)
			for _, took := range tt.took {
				p.add(took*ms, now)
			}
			if got := p.enough(now); got.Truncate(ms) != tt.want*ms {
				t.Errorf("enough() = %v, want %v", got, tt.want*ms)
			}
		})
	}
}

func TestOldPaceIsForgotten(t *testing.T) {
	var p pace
	now := time.Unix(1e9, 0)
	p.add(600*ms, now)
	now = now.Add(paceFor)
	if got := p.enough(now); got != 900*ms {
		t.Errorf("enough() after %v = %v, want 900ms", paceFor, got)
	}
	now = now.Add(1)
	if got := p.enough(now); got != 0 {
		t.Errorf("enough() later = %v, want 0", got)
	}
	p.add(100*ms, now)
	if got := p.enough(now); got != 150*ms {
		t.Errorf("enough() of a new network = %v, want 150ms", got)
	}
}

func TestHeadStartIsBounded(t *testing.T) {
	for _, tt := range []struct {
		mode       Mode
		took, want time.Duration
	}{
		{H3, 0, h3HeadStart},
		{H3, 100 * ms, h3HeadStart},
		{H3, 400 * ms, 600 * ms},
		{H3, 900 * ms, maxH3HeadStart},
		{H2, 400 * ms, h2HeadStart},
		{H2, time.Second, 1500 * ms},
		{H2, 5 * time.Second, maxH2HeadStart},
	} {
		var m Memory
		now := time.Unix(1e9, 0)
		if tt.took > 0 {
			m.took(tt.mode, tt.took, now)
		}
		if got := m.headStart(tt.mode, now); got != tt.want {
			t.Errorf("headStart(%v) after %v = %v, want %v", tt.mode, tt.took, got, tt.want)
		}
	}
}

// On a slow path the first flow may try more than one mode, and those on the warm connection do not.
func TestSlowPathStaysWithOneMode(t *testing.T) {
	for _, rtt := range []time.Duration{300 * ms, 600 * ms} {
		onCourse(t, allModes, func(t *testing.T, c *course) {
			c.h2.set(4*rtt, nil)
			c.h1.set(3*rtt, nil)
			c.h3.set(3*rtt, nil)
			c.connect(H3, 3*rtt)
			c.pause(tryTime)
			before, _ := c.h2.counts()
			for i := range 20 {
				took := rtt + time.Duration(i%5-2)*rtt/10
				c.h3.set(took, nil)
				c.connect(H3, took)
			}
			if after, _ := c.h2.counts(); after != before {
				t.Errorf("round trip %v: dials by h2 = %d while h3 was warm, want 0", rtt, after-before)
			}
		})
	}
}

// What an ordinary path teaches costs the first flow of a network without UDP little.
func TestHeadStartOnAnOrdinaryPath(t *testing.T) {
	const rtt = 100 * ms
	for name, openings := range map[string][]time.Duration{
		"one cold opening": {3 * rtt},
		"cold openings":    {3 * rtt, 3 * rtt, 3 * rtt, 3 * rtt, 3 * rtt},
		"warm openings":    {3 * rtt, rtt, rtt, rtt},
	} {
		t.Run(name, func(t *testing.T) {
			onCourse(t, allModes, func(t *testing.T, c *course) {
				c.h2.set(4*rtt, nil)
				for _, took := range openings {
					c.h3.set(took, nil)
					c.connect(H3, took)
				}
				c.h3.set(ever, nil)
				start := time.Now()
				if _, err := c.ConnectStream(t.Context()); err != nil {
					t.Errorf("ConnectStream() = %v, want nil", err)
				}
				if took := time.Since(start); took > h3HeadStart+4*rtt+300*ms {
					t.Errorf("ConnectStream() took %v, want %v at most", took, h3HeadStart+4*rtt+300*ms)
				}
			})
		})
	}
}
