package app

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
)

// told is a service manager that keeps what it is told.
type told struct {
	mu     sync.Mutex
	states []string
}

func (m *told) tell(state string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states = append(m.states, state)
	return nil
}

func (m *told) count(state string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.states {
		if s == state {
			n++
		}
	}
	return n
}

// TestWatchdogFollowsProgress has each loop stop in turn, for good.
func TestWatchdogFollowsProgress(t *testing.T) {
	const interval = 30 * time.Second
	for _, tt := range []struct {
		name             string
		balance, accepts bool
		want             int // signs of life within ten intervals
	}{
		{"all is well", true, true, 10 * looksPerWatchdog},
		{"the balancer hangs", false, true, 0},
		{"an accept loop hangs", true, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				manager, book := new(told), newLogbook()
				d := &door{tended: new(tended)}
				a := &App{
					log: book.logger(), balancer: balancer.New(nil, balancer.Options{}),
					service: Service{tell: manager.tell, watchdog: interval},
					doors:   map[place]*door{{kindSOCKS5, "127.0.0.1:1080"}: d},
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*interval+time.Second)
				defer cancel()
				var running sync.WaitGroup
				if tt.balance {
					running.Go(func() { _ = a.balancer.Run(ctx) })
				}
				running.Go(func() { a.watch(ctx) })
				for tt.accepts && ctx.Err() == nil {
					d.tended.rounds.Add(1)
					time.Sleep(interval / roundsPerWatchdog) // in the bubble's time
				}
				running.Wait()
				if got := manager.count("WATCHDOG=1"); got != tt.want {
					t.Errorf("%d signs of life, want %d", got, tt.want)
				}
				if tt.want == 0 {
					book.wait(t, "no progress")
				}
			})
		})
	}
}

// TestTendedListener comes round without clients, takes those that come, and ends with its listener.
func TestTendedListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &App{service: Service{watchdog: 60 * time.Millisecond}}
	tended := a.tend(place{kind: kindSOCKS5}, l)
	accepted := make(chan error, 1)
	accept := func() {
		c, err := tended.Accept()
		if err == nil {
			_ = c.Close()
		}
		accepted <- err
	}
	go accept()
	for deadline := time.Now().Add(patience); tended.rounds.Load() < 3; {
		if time.Now().After(deadline) {
			t.Fatal("Accept does not come round")
		}
		select {
		case err := <-accepted:
			t.Fatalf("Accept = %v without a client", err)
		case <-time.After(time.Millisecond):
		}
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-accepted; err != nil {
		t.Fatalf("Accept = %v", err)
	}
	go accept()
	_ = l.Close()
	if err := <-accepted; err == nil {
		t.Error("Accept of a closed listener gives no error")
	}
}

func TestNobodyWatches(t *testing.T) {
	a := &App{log: newLogbook().logger()}
	a.watch(t.Context()) // returns
	a.say("READY=1")
	if a.tend(place{kind: kindSOCKS5}, &net.TCPListener{}) != nil {
		t.Error("a listener is tended that nobody asks about")
	}
	a.service.watchdog = time.Minute
	if a.tend(place{kind: kindMetrics}, &net.TCPListener{}) != nil {
		t.Error("a listener is tended whose loop may wait")
	}
}
