package h2

import (
	"context"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// since sets when a stream was opened, something was heard and a ping was sent, in seconds before now; 0 is
// never.
func since(c *Conn, asked, heard, ping float64) {
	before := func(seconds float64) time.Time {
		if seconds == 0 {
			return time.Time{}
		}
		return time.Now().Add(-time.Duration(seconds * float64(time.Second)))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.heard, c.pingSent = before(asked), before(heard), before(ping)
}

func TestSuspect(t *testing.T) {
	for _, tt := range []struct {
		name               string
		asked, heard, ping float64
		want               bool
	}{
		{"nothing was asked", 0, 30, 0, false},
		{"just asked", 0.1, 30, 0, false},
		{"heard since", 5, 4, 0, false},
		{"silent, but no ping is out", 3, 4, 0, false},
		{"ping is young", 3, 4, 0.4, false},
		{"asked a moment ago, and a ping is out", 0.9, 4, 0.6, false},
		{"a second after it was asked", 1.01, 4, 0.51, true},
		{"ping unanswered", 3, 4, 2, true},
		{"heard since the ping", 3, 1, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := transporttest.Pipe()
			c := NewConn(a, Options{})
			defer c.Close()
			defer b.Close()
			since(c, tt.asked, tt.heard, tt.ping)
			if got := c.Suspect(); got != tt.want {
				t.Errorf("Suspect() = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestSlowPathIsNotSuspect: on it a second is less than two round trips.
func TestSlowPathIsNotSuspect(t *testing.T) {
	for asked, want := range map[float64]bool{1.5: false, 2.9: false, 3.1: true} {
		a, b := transporttest.Pipe()
		c := NewConn(a, Options{})
		c.mu.Lock()
		c.rtt = 1500 * time.Millisecond
		c.mu.Unlock()
		since(c, asked, 9, asked/2+0.01)
		if got := c.Suspect(); got != want {
			t.Errorf("Suspect() %v s after a stream was opened = %v, want %v", asked, got, want)
		}
		_ = c.Close()
		_ = b.Close()
	}
}

// TestSlowServerIsNotSuspect: a ping tells it from a silent connection.
func TestSlowServerIsNotSuspect(t *testing.T) {
	c, _ := startServer(t)
	since(c, 3, 4, 0)
	if c.Suspect() {
		t.Error("Suspect() = true before a ping was out")
	}
	for deadline := time.Now().Add(patience); ; {
		c.mu.Lock()
		answered := c.pingSent.IsZero()
		c.mu.Unlock()
		if answered {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no ping was sent, or none answered")
		}
	}
	if c.Suspect() {
		t.Error("Suspect() = true although the server answered")
	}
}

// TestManyFlowsDoNotHideADeadConnection: each of them asks anew, and the first question counts.
func TestManyFlowsDoNotHideADeadConnection(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		time.Sleep(2 * pingAfter)
		start := time.Now()
		for !p.c.Suspect() {
			if time.Since(start) > 3*carrier.SuspectAfter {
				t.Fatal("Suspect() = false after 3s")
			}
			p.start(t.Context(), nil)
			time.Sleep(carrier.SuspectAfter / 4)
		}
	})
}

// TestFlowThatWaitsForItsTurn: an upload that went nowhere holds up the question too, which makes it no
// younger.
func TestFlowThatWaitsForItsTurn(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.do(p.fr.WriteWindowUpdate(0, 1<<20))
		p.stopReading()
		time.Sleep(time.Second)
		wrote := s.beginWrite(600 << 10)
		ctx, cancel := context.WithCancel(t.Context())
		o := p.start(ctx, nil)
		time.Sleep(carrier.SuspectAfter)
		if p.c.Suspect() {
			t.Error("Suspect() = true before there was a ping")
		}
		time.Sleep(carrier.SuspectAfter)
		if !p.c.Suspect() {
			t.Error("Suspect() = false, want true")
		}
		cancel()
		<-o.done
		p.startReading()
		_ = s.Abort()
		<-wrote
	}, initialWindow(1<<20))
}
