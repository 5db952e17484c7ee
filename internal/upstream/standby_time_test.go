package upstream

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeepsThatMany(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 3)
		for range 10 {
			s.Keep(3)
		}
		time.Sleep(10 * time.Second)
		wantReady(t, s, 3)
		if got := len(n.dials); got != 3 {
			t.Errorf("%d dials, want 3", got)
		}
		s.Keep(-1)
		wantReady(t, s, 0)
	})
}

func TestHandsOutAtOnceAndRefills(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 2)
		for range 5 {
			if _, took := flow(t, s); took != 0 {
				t.Errorf("a ready connection took %v, want nothing", took)
			}
			time.Sleep(openTime)
			wantReady(t, s, 2)
			time.Sleep(time.Second)
		}
		if n.direct != 0 {
			t.Errorf("%d flows dialled, want none", n.direct)
		}
	})
}

func TestNothingReadyDials(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		if _, took := flow(t, s); took != openTime {
			t.Errorf("a dial took %v, want %v", took, openTime)
		}
		if n.direct != 1 || len(n.dials) != 0 {
			t.Errorf("dials: %d of flows and %d of standby, want 1 and 0", n.direct, len(n.dials))
		}
	})
}

// The youngest has the best chances, but a strained path comes last.
func TestWhichIsHandedOut(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		for i := range 3 {
			warmUp(t, s, i+1)
		}
		n.conns[2].strained = true
		for _, want := range []int{1, 0, 2} {
			if got, _ := flow(t, s); got != n.conns[want] {
				t.Errorf("the connection handed out is not number %d", want)
			}
		}
	})
}

// What was ready before the host slept is not handed out: the monotonic clock stood still, and nobody noticed
// how the server went.
func TestNothingFromBeforeASleep(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 2)
		before := n.all()
		s.mu.Lock()
		for _, w := range s.ready {
			w.born = w.born.Round(0).Add(-time.Hour) // of the wall clock alone
		}
		s.mu.Unlock()
		if got, took := flow(t, s); took != openTime || slices.Contains(before, got) {
			t.Errorf("a connection from before, within %v", took)
		}
		wantReady(t, s, 2)
	})
}

// For ten minutes there is always one ready, and none gets so old that a server would drop it.
func TestRecycledByAge(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 2)
		for range 10 * 60 * 10 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if got := s.Ready(); got < 2 || got > 4 {
				t.Fatalf("Ready() = %d, want 2, and the successors of those", got)
			}
		}
		left := 0
		for _, c := range n.all() {
			if c.left.IsZero() {
				continue
			}
			left++
			if age := c.left.Sub(c.born); age < renewAfter || age > renewAfter+renewSpread+openTime {
				t.Errorf("left at the age of %v, want %v and up to %v more", age, renewAfter, renewSpread)
			}
		}
		if left < 2*10*60/26 || left > 2*10*60/20 {
			t.Errorf("%d left in ten minutes, want one every 20 to 25 s for each of 2", left)
		}
	})
}

// An old one stays while no other takes its place, but not so long that the server drops it.
func TestOldStaysWithoutSuccessor(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 1)
		n.set(func(n *fakeNet) { n.fail = true })
		time.Sleep(lastAge - time.Second)
		wantReady(t, s, 1)
		time.Sleep(time.Second)
		wantReady(t, s, 0)
		n.set(func(n *fakeNet) { n.fail = false })
		time.Sleep(maxPause + openTime)
		wantReady(t, s, 1)
	})
}

func TestDeathIsSeenAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 2)
		time.Sleep(proofAge)
		n.conns[1].end(io.ErrUnexpectedEOF)
		wantReady(t, s, 1)
		time.Sleep(openTime)
		wantReady(t, s, 2)
		if !n.conns[1].closed {
			t.Error("the dead connection was not closed")
		}
	})
}

// A server that speaks before it was asked is not what a flow expects.
func TestServerSpeaksFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 1)
		n.conns[0].set(func(c *fakeConn) { c.spoke = true })
		wantReady(t, s, 0)
	})
}

// A death that nobody has had time to see is seen by the flow that would get the connection.
func TestDeadIsNotHandedOut(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 2)
		synctest.Wait()
		n.conns[1].end(io.ErrUnexpectedEOF)
		if got, _ := flow(t, s); got != n.conns[0] {
			t.Error("the flow did not get the connection that is alive")
		}
		wantReady(t, s, 0)
	})
}

func TestHandOverMeetsTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 1)
		w := s.claim()
		n.conns[0].end(os.ErrClosed)
		if w.handOver(s.flows) {
			t.Error("a dead connection was handed over")
		}
		if !n.conns[0].closed {
			t.Error("the dead connection was not closed")
		}
	})
}

func TestKeepZeroCloses(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 4)
		s.Keep(6) // two are under way
		time.Sleep(openTime / 2)
		s.Keep(0)
		wantReady(t, s, 0)
		time.Sleep(time.Hour)
		synctest.Wait()
		for i, c := range n.all() {
			if c.left.IsZero() || c.closed {
				t.Errorf("connection %d: left %v, closed %v; want it to leave", i, c.left, c.closed)
			}
		}
		if len(n.conns) != 6 {
			t.Errorf("%d connections, want 6: nothing is opened any more", len(n.conns))
		}
	})
}

// However a server fails, it sees few dials, and standby is back soon after the server is.
func TestNoDialStorm(t *testing.T) {
	for name, broken := range map[string]func(n *fakeNet){
		"refuses":       func(n *fakeNet) { n.fail = true },
		"drops at once": func(n *fakeNet) { n.life = time.Nanosecond },
		"drops soon":    func(n *fakeNet) { n.life = proofAge / 2 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
				n.set(broken)
				for range 5 * 60 {
					s.Keep(8)
					time.Sleep(time.Second)
					s.Keep(7)
				}
				if got := len(n.dials); got < 10 || got > 30 {
					t.Errorf("%d dials in five minutes, want 10 to 30: %v", got, n.dials)
				}
				n.set(func(n *fakeNet) { n.fail, n.life = false, 0 })
				time.Sleep(maxPause + 8*openTime + proofAge)
				wantReady(t, s, 7)
			})
		})
	}
}

// Who knows that the server is back need not wait for the end of a pause: one connection is on trial at once.
func TestPauseEndsEarly(t *testing.T) {
	for name, tell := range map[string]func(t *testing.T, s *standby[*fakeConn]){
		"a flow's dial works": func(t *testing.T, s *standby[*fakeConn]) { flow(t, s) },
		"the path is up again": func(_ *testing.T, s *standby[*fakeConn]) {
			s.Keep(0)
			s.Keep(3)
			time.Sleep(openTime)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
				n.set(func(n *fakeNet) { n.fail = true })
				s.Keep(3)
				time.Sleep(40 * time.Second) // in the middle of a pause
				n.set(func(n *fakeNet) { n.fail = false })
				wantReady(t, s, 0)
				tell(t, s)
				time.Sleep(openTime)
				wantReady(t, s, 1)
				time.Sleep(proofAge + openTime)
				wantReady(t, s, 3)
			})
		})
	}
}

func TestDialsAreFew(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		s.Keep(50)
		time.Sleep(50 / maxDials * 2 * openTime)
		wantReady(t, s, 50)
		if n.most != maxDials {
			t.Errorf("%d dials at a time, want %d", n.most, maxDials)
		}
	})
}

// Flows that come at random, up to a rate that standby is bounded for, nearly all find a ready connection.
func TestAheadOfRate(t *testing.T) {
	for _, rate := range []float64{1, 5, 20, 40} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
				random := rand.New(rand.NewPCG(1, uint64(rate)))
				warmUp(t, s, 2)
				const flows = 2000
				most := 0
				for range flows {
					time.Sleep(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
					go func() { _, _ = s.connect(t.Context()) }()
					synctest.Wait()
					most = max(most, s.Ready())
				}
				t.Logf("%v flows a second: %d of %d dialled, %d ready at most", rate, n.direct, flows, most)
				if n.direct > flows/20 {
					t.Errorf("%d of %d flows dialled, want less than 5 %%", n.direct, flows)
				}
				if most > maxAhead {
					t.Errorf("%d ready, want %d at most", most, maxAhead)
				}
				time.Sleep(2 * time.Minute)
				wantReady(t, s, 2)
			})
		})
	}
}

func TestCloseEndsDials(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 2)
		s.Keep(4)
		synctest.Wait()
		began := time.Now()
		s.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("Close() took %v, want nothing", took)
		}
		wantReady(t, s, 0)
		for i, c := range n.all() {
			if !c.gone() {
				t.Errorf("connection %d was left open", i)
			}
		}
		s.Keep(3)
		s.Close()
		time.Sleep(time.Hour)
		if got := len(n.dials); got != 4 {
			t.Errorf("%d dials, want 4: none after Close", got)
		}
	})
}

// Whatever happens at the same time, each connection is one flow's or is given up, and nobody waits for long.
func TestEverythingAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		var running sync.WaitGroup
		var mu sync.Mutex
		owned := make(map[*fakeConn]bool)
		for worker := range 8 {
			random := rand.New(rand.NewPCG(2, uint64(worker)))
			running.Go(func() {
				for range 200 {
					time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
					c, err := s.connect(t.Context())
					if err != nil {
						continue
					}
					mu.Lock()
					if owned[c] {
						t.Error("a connection was handed out twice")
					}
					owned[c] = true
					mu.Unlock()
				}
			})
		}
		random := rand.New(rand.NewPCG(3, 3))
		for range 100 {
			time.Sleep(time.Duration(random.Int64N(int64(2 * time.Second))))
			s.Keep(random.IntN(6))
			n.set(func(n *fakeNet) { n.fail = random.IntN(4) == 0 })
			if all := n.all(); len(all) > 0 {
				all[len(all)-1-random.IntN(min(len(all), 8))].end(io.ErrUnexpectedEOF)
			}
		}
		running.Wait()
		s.Close()
		for i, c := range n.all() {
			if owned[c] == c.gone() {
				t.Errorf("connection %d: a flow's %v, given up %v; want one of them", i, owned[c], c.gone())
			}
		}
	})
}
