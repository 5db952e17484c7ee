package h2

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

// checked calls Check, and returns the ping that it sends.
func checked(p *script) frame {
	p.take()
	p.c.Check()
	return p.takeOne(http2.FramePing)
}

func TestCheckOfADeadConnection(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		checked(p)
		start := time.Now()
		if !p.c.Suspect() {
			t.Error("Suspect() = false after Check, want true")
		}
		_, err := s.Read(make([]byte, 1))
		if took := time.Since(start); !errors.Is(err, ErrPingTimeout) || took != carrier.CheckTime {
			t.Errorf("Read() = %v after %v, want %v after %v", err, took, ErrPingTimeout, carrier.CheckTime)
		}
		if p.c.Check(); p.c.Suspect() {
			t.Error("Suspect() = true of a connection that has ended")
		}
	})
}

func TestCheckOfALiveConnection(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.open()
		time.Sleep(time.Second)
		f := checked(p)
		time.Sleep(carrier.CheckTime - 1)
		p.do(p.fr.WritePing(true, [8]byte(f.payload)))
		if p.c.Suspect() {
			t.Error("Suspect() = true after the answer")
		}
		time.Sleep(pingAfter - 1)
		p.wantAlive()
	})
}

// One question after the other, each of them answered late, must not end a connection that lives.
func TestManyChecks(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.open()
		for range 10 {
			time.Sleep(carrier.CheckTime / 2)
			checked(p)
			p.do(p.fr.WritePing(true, [8]byte(checked(p).payload)))
		}
		p.wantAlive()
	})
}

func TestCheckOnASlowPath(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.c.mu.Lock()
		p.c.rtt = time.Second
		p.c.mu.Unlock()
		checked(p)
		start := time.Now()
		_, _ = s.Read(make([]byte, 1))
		if took := time.Since(start); took != slowTrips*time.Second {
			t.Errorf("dead after %v, want %v", took, slowTrips*time.Second)
		}
	})
}

// What waited while the program was stopped comes at once, and is no answer.
func TestLeftoversAreNoAnswer(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		f := checked(p)
		start := time.Now()
		time.Sleep(carrier.LeftoverTime)
		before := [8]byte(f.payload)
		before[7]--
		p.do(p.fr.WriteWindowUpdate(0, 1))
		p.do(p.fr.WritePing(true, before))
		if !p.c.Suspect() {
			t.Error("Suspect() = false after leftovers, want true")
		}
		_, err := s.Read(make([]byte, 1))
		if took := time.Since(start); !errors.Is(err, ErrPingTimeout) || took != carrier.CheckTime {
			t.Errorf("Read() = %v after %v, want %v after %v", err, took, ErrPingTimeout, carrier.CheckTime)
		}
	})
}

// A server whose answer is held up behind a download lives.
func TestADownloadIsAnAnswer(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.open()
		checked(p)
		time.Sleep(carrier.LeftoverTime + 1)
		p.do(p.fr.WriteWindowUpdate(0, 1))
		if p.c.Suspect() {
			t.Error("Suspect() = true while the server sends, want false")
		}
		time.Sleep(carrier.CheckTime)
		p.wantAlive()
	})
}

// An answer that waited while the program was stopped says nothing of the path.
func TestRoundTripOfAStop(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.open()
		f := checked(p)
		time.Sleep(time.Millisecond)
		p.do(p.fr.WritePing(true, [8]byte(f.payload)))
		f = checked(p)
		p.c.mu.Lock()
		p.c.pingSent = p.c.pingSent.Add(-time.Minute)
		p.c.mu.Unlock()
		p.do(p.fr.WritePing(true, [8]byte(f.payload)))
		p.c.mu.Lock()
		defer p.c.mu.Unlock()
		if p.c.rtt > time.Second {
			t.Errorf("the round trip is taken for %v", p.c.rtt)
		}
	})
}
