package carrier

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	patience  = time.Second
	blackhole = 4 * time.Second // how long a dial takes that nobody answers
)

// fakeNetwork is one that may drop everything.
type fakeNetwork struct {
	back    atomic.Bool
	err     atomic.Pointer[Error] // of dials; nil: nobody answers
	dials   atomic.Int32
	connect time.Duration
}

var errNobody = errors.New("no answer over UDP")

func (n *fakeNetwork) dial(ctx context.Context) (Session, error) {
	n.dials.Add(1)
	if err := n.err.Load(); err != nil {
		return nil, err
	}
	for began := time.Now(); !n.back.Load(); {
		select {
		case <-time.After(10 * ms):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if time.Since(began) >= blackhole {
			return nil, &Error{Mode: H3, Stage: StageConnect, Err: errNobody}
		}
	}
	time.Sleep(n.connect)
	return &fakeSession{room: 100}, nil
}

// onNetwork runs a test with a pool that has just found out that nobody answers.
func onNetwork(t *testing.T, patience time.Duration, test func(t *testing.T, n *fakeNetwork, p *Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNetwork{connect: dialTime}
		p := &Pool{Dial: n.dial, Patience: patience}
		defer p.Close()
		p.wantFailure(t, blackhole)
		test(t, n, p)
	})
}

// wantFailure wants the failure of the network after some time.
func (p *Pool) wantFailure(t *testing.T, after time.Duration) {
	t.Helper()
	start := time.Now()
	_, err := p.Open(t.Context(), nil, nil)
	if took := time.Since(start); !errors.Is(err, errNobody) || took != after {
		t.Errorf("Open() = %v after %v, want %v after %v", err, took, errNobody, after)
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Mode != H3 || e.Stage != StageConnect {
		t.Errorf("Open() = %v, want an *Error of h3 at connect", err)
	}
	again := strings.Contains(err.Error(), "no answer within 1s, and none a moment ago: "+errNobody.Error())
	if again != (after == patience) {
		t.Errorf("Open() after %v = %v", after, err)
	}
}

func TestPoolRemembersThatNobodyAnswers(t *testing.T) {
	onNetwork(t, patience, func(t *testing.T, n *fakeNetwork, p *Pool) {
		start := time.Now()
		for range 20 { // which goes on as long as flows come
			before := time.Now()
			if _, err := p.Open(t.Context(), nil, nil); !errors.Is(err, errNobody) {
				t.Errorf("Open() = %v, want %v", err, errNobody)
			}
			if took := time.Since(before); took > patience {
				t.Errorf("Open() took %v, want %v at most", took, patience)
			}
			time.Sleep(10 * ms)
		}
		if got, most := n.dials.Load(), int32(time.Since(start)/blackhole)+2; got > most {
			t.Errorf("dials = %d, want %d at most: one after the other", got, most)
		}
		p.wantFailure(t, patience)
		time.Sleep(failedFor + blackhole)
		p.wantFailure(t, blackhole)
	})
}

func TestPoolIsPatientUnlessToldOtherwise(t *testing.T) {
	onNetwork(t, 0, func(t *testing.T, _ *fakeNetwork, p *Pool) {
		p.wantFailure(t, blackhole)
	})
}

// The first flow whose dial succeeds in time uses it.
func TestPoolOnANetworkThatIsBack(t *testing.T) {
	onNetwork(t, patience, func(t *testing.T, n *fakeNetwork, p *Pool) {
		p.wantFailure(t, patience)
		n.back.Store(true)
		if took := p.open(t, 1); took > dialTime+10*ms {
			t.Errorf("Open() took %v, want that of the dial", took)
		}
		if took := p.open(t, 10); took != 0 {
			t.Errorf("Open() took %v, want 0", took)
		}
		if got := n.dials.Load(); got != 2 {
			t.Errorf("dials = %d, want 2", got)
		}
	})
}

// A dial that takes longer than flows wait for it goes on, and serves those to come.
func TestPoolOnASlowNetworkThatIsBack(t *testing.T) {
	onNetwork(t, patience, func(t *testing.T, n *fakeNetwork, p *Pool) {
		n.back.Store(true)
		n.connect = 3 * patience / 2
		p.wantFailure(t, patience)
		if took := p.open(t, 1); took != patience/2 {
			t.Errorf("Open() took %v, want the other %v", took, patience/2)
		}
		if took := p.open(t, 10); took != 0 {
			t.Errorf("Open() took %v, want 0", took)
		}
		if p.failed.err != nil {
			t.Errorf("remembered after a success: %v", p.failed.err)
		}
	})
}

// A quick failure says that somebody answers: the next dial may take its time.
func TestPoolForgetsWhenSomebodyAnswers(t *testing.T) {
	onNetwork(t, patience, func(t *testing.T, n *fakeNetwork, p *Pool) {
		n.err.Store(&Error{Mode: H3, Stage: StageTLS, Err: errors.New("no h3 in ALPN")})
		for want := range int32(3) {
			if _, err := p.Open(t.Context(), nil, nil); !errors.Is(err, n.err.Load()) {
				t.Errorf("Open() = %v, want %v", err, n.err.Load())
			}
			if got := n.dials.Load(); got != want+2 {
				t.Errorf("dials = %d, want %d", got, want+2)
			}
		}
		n.err.Store(nil)
		p.wantFailure(t, blackhole)
	})
}

func TestFlowGivesUpBeforeItsPatienceEnds(t *testing.T) {
	onNetwork(t, patience, func(t *testing.T, _ *fakeNetwork, p *Pool) {
		ctx, cancel := context.WithTimeout(t.Context(), patience/2)
		defer cancel()
		if _, err := p.Open(ctx, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open() = %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

func TestStillNoAnswerOfAnyError(t *testing.T) {
	if err := stillNoAnswer(errNobody, patience); !errors.Is(err, errNobody) {
		t.Errorf("stillNoAnswer(%v) = %v", errNobody, err)
	}
}
