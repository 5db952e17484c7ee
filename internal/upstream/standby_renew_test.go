package upstream

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRenewReplacesWhatIsReady(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 2)
		before := n.all()
		s.Renew()
		wantReady(t, s, 0)
		for i, c := range before {
			if !c.gone() {
				t.Errorf("connection %d of the network before is kept", i)
			}
		}
		time.Sleep(openTime)
		wantReady(t, s, 2)
		if c, took := flow(t, s); took != 0 || c == before[0] || c == before[1] {
			t.Errorf("a flow took %v, want a connection that was ready", took)
		}
	})
}

// A dial that the change finds under way is of the network before. It does not count against the server.
func TestRenewBeginsDialsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		s.Keep(2)
		time.Sleep(openTime / 2)
		s.Renew()
		time.Sleep(openTime)
		wantReady(t, s, 2)
		if len(n.dials) != 4 || len(n.all()) != 2 {
			t.Errorf("%d dials made %d connections, want 4 and 2", len(n.dials), len(n.all()))
		}
	})
}

// The network before swallowed what this one may carry.
func TestRenewEndsThePause(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		n.set(func(n *fakeNet) { n.fail = true })
		s.Keep(2)
		time.Sleep(time.Minute)
		n.set(func(n *fakeNet) { n.fail = false })
		s.Renew()
		time.Sleep(openTime)
		wantReady(t, s, 2)
	})
}

func TestRestOpensNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 2)
		s.Keep(3)
		s.Rest()
		wantReady(t, s, 0)
		dials := len(n.dials)
		s.Keep(1)
		s.Keep(2)
		time.Sleep(time.Hour)
		wantReady(t, s, 0)
		if len(n.dials) != dials {
			t.Errorf("%d dials without a network, want none", len(n.dials)-dials)
		}
		s.Renew()
		time.Sleep(openTime)
		wantReady(t, s, 2)
	})
}

// What was handed out before is the flow's own.
func TestRestLeavesFlowsAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 1)
		c, _ := flow(t, s)
		s.Rest()
		s.Renew()
		synctest.Wait()
		if c.gone() {
			t.Error("the connection of a flow was closed")
		}
	})
}

func TestRenewAfterClose(t *testing.T) {
	inBubble(t, func(t *testing.T, n *fakeNet, s *standby[*fakeConn]) {
		warmUp(t, s, 1)
		s.Close()
		s.Rest()
		s.Renew()
		time.Sleep(time.Hour)
		wantReady(t, s, 0)
		if len(n.dials) != 1 {
			t.Errorf("%d dials, want none after Close", len(n.dials)-1)
		}
	})
}
