package h3

import (
	"errors"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

func TestCheckOfADeadConnection(t *testing.T) {
	s := newServer(t).start()
	n, d := throughNAT(t, s)
	near, _ := openThrough(t, n, s, d)
	n.blocked.Store(true)
	began := time.Now()
	d.Renew()
	if !near.c.Suspect() {
		t.Error("Suspect() = false after Renew, want true")
	}
	_, err := near.Read(make([]byte, 1))
	if lost, ok := errors.AsType[*ConnError](err); !ok || !errors.Is(lost.Err, ErrSilent) {
		t.Errorf("read on a dead connection = %v, want %v", err, ErrSilent)
	}
	// A busy machine may add to it, but the watcher's own ticks take longer.
	if took := time.Since(began); took < carrier.CheckTime || took > 2*carrier.CheckTime {
		t.Errorf("connection ended after %v, want %v", took, carrier.CheckTime)
	}
}

// The server answers at our new port, as it does after a change of networks.
func TestCheckOfALiveConnection(t *testing.T) {
	s := newServer(t).start()
	n, d := throughNAT(t, s)
	near, far := openThrough(t, n, s, d)
	n.rebind()
	d.Renew()
	until(t, "a sign of life", func() bool { return !near.c.Suspect() })
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Errorf("read after the change = %v, want nil", err)
	}
}

// What comes before a check has settled may have waited for us.
func TestACheckSettles(t *testing.T) {
	var d doubt
	now := time.Now()
	d.check(now)
	if !d.holds(7) || !d.holds(8) || d.wasAsked() {
		t.Error("a check must doubt whatever comes until it has settled")
	}
	if d.refuse(7, now) {
		t.Error("a refusal must not ask before a check has settled")
	}
	if !d.settle(7, now) || d.settle(7, now) {
		t.Error("a check must settle once")
	}
}

func TestDoubtOfACheck(t *testing.T) {
	var d doubt
	now := time.Now()
	d.check(now)
	d.settle(7, now)
	if !d.holds(7) || d.holds(8) {
		t.Error("a check that has settled must doubt until a packet comes")
	}
	if d.proves(7, now.Add(time.Second-1), time.Second) || !d.proves(7, now.Add(time.Second), time.Second) {
		t.Error("a check must prove something after the patience, and not before")
	}
	if ask := d.refuse(8, now.Add(time.Second)); !ask || d.checked {
		t.Error("a refusal after a sign of life must begin a doubt of its own")
	}
}

// An acknowledgement that waited for a minute while the program was stopped says nothing of the path.
func TestProbeTimeout(t *testing.T) {
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		least, smoothed, deviation time.Duration
		want                       time.Duration
	}{
		"a fast path":           {ms, 2 * ms, ms, 31 * ms},
		"a satellite":           {600 * ms, 650 * ms, 50 * ms, 875 * ms},
		"a slow path":           {time.Second, 2 * time.Second, 500 * ms, 4025 * ms},
		"stopped for a minute":  {ms, 7500 * ms, 15 * time.Second, 27 * ms},
		"stopped, on satellite": {600 * ms, 8 * time.Second, 15 * time.Second, 1225 * ms},
	} {
		s := quic.ConnectionStats{MinRTT: tt.least, SmoothedRTT: tt.smoothed, MeanDeviation: tt.deviation}
		if got := probeTimeout(s); got != tt.want {
			t.Errorf("%s: probeTimeout() = %v, want %v", name, got, tt.want)
		}
	}
}
