package carrier

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A dial that began on the network before is in vain: the flows that wait for it get another one.
func TestRenewBeginsTheDialAnew(t *testing.T) {
	const change = blackhole/2 + ms
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNetwork{connect: dialTime}
		p := &Pool{Dial: n.dial, Patience: patience}
		defer p.Close()
		start, opened := time.Now(), make(chan error, 1)
		go func() {
			_, err := p.Open(t.Context(), nil, nil)
			opened <- err
		}()
		time.Sleep(change)
		n.back.Store(true)
		p.Renew()
		if err := <-opened; err != nil {
			t.Errorf("Open() = %v, want nil", err)
		}
		if took := time.Since(start); took != change+dialTime {
			t.Errorf("Open() took %v, want %v after the change", took, dialTime)
		}
		if dials := n.dials.Load(); dials != 2 {
			t.Errorf("dials = %d, want 2", dials)
		}
	})
}

// A flow that gives up meanwhile is told so, and none waits for ever.
func TestRenewAndAFlowThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(fakeNetwork)
		p := &Pool{Dial: n.dial}
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		time.AfterFunc(time.Second, p.Renew)
		if _, err := p.Open(ctx, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open() = %v, want %v", err, context.DeadlineExceeded)
		}
		synctest.Wait()
	})
}

// What the network before swallowed is no reason to be impatient with this one.
func TestRenewForgetsFailedDials(t *testing.T) {
	onNetwork(t, patience, func(t *testing.T, n *fakeNetwork, p *Pool) {
		p.wantFailure(t, patience)
		p.Renew()
		p.wantFailure(t, blackhole)
	})
}

func TestRenewChecksSessions(t *testing.T) {
	f := &fakeServer{room: 100}
	inPool(t, f, func(t *testing.T, p *Pool) {
		p.open(t, 1)
		p.Renew()
		if checks := f.sessions[0].checks; checks != 1 {
			t.Errorf("Check() was called %d times, want once", checks)
		}
		if took := p.open(t, 1); took != dialTime { // that one is suspect
			t.Errorf("Open() took %v, want a dial, %v", took, dialTime)
		}
		f.sessions[0].set(func(s *fakeSession) { s.doubted = false })
		if took := p.open(t, 1); took != 0 {
			t.Errorf("Open() took %v, want nothing", took)
		}
	})
}
