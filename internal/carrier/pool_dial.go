package carrier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// failedFor is how long the failure of a dial that nobody answered is news.
const failedFor = 10 * time.Second

// failedDial is a dial that nobody answered. The zero value is none.
type failedDial struct {
	err error
	at  time.Time
}

// dialing is one dial that several flows wait for.
type dialing struct {
	done    chan struct{} // closed when it is over
	session Session       // valid then
	err     error         // valid then
	stop    context.CancelFunc
	began   time.Time
	after   error // what a dial met a moment ago that nobody answered; nil if there was none
	void    bool  // whoever waits needs another one; guarded by the pool's mu
}

// dial starts a dial, which goes on when the flow that needed it gives up: the next one will need it too. The
// caller holds mu.
func (p *Pool) dial() {
	ctx, cancel := context.WithTimeout(context.Background(), orDefault(p.DialTimeout, defaultDial))
	d := &dialing{done: make(chan struct{}), stop: cancel, began: time.Now()}
	if d.began.Sub(p.failed.at) < failedFor {
		d.after = p.failed.err
	}
	p.dialing = d
	p.workers.Go(func() {
		defer cancel()
		s, err := p.Dial(ctx)
		p.dialed(d, s, err)
	})
}

func (p *Pool) dialed(d *dialing, s Session, err error) {
	p.mu.Lock()
	now := time.Now()
	d.session, d.err = s, err
	if !d.void {
		p.dialing, p.failed = nil, failedDial{}
		if err != nil && now.Sub(d.began) > p.Patience {
			p.failed = failedDial{err, now}
		}
	}
	keep := err == nil && !p.closed
	if keep {
		p.sessions = append(p.sessions, pooled{s, now})
		p.sweepLater()
	}
	close(d.done)
	p.mu.Unlock()
	if err == nil && !keep {
		_ = s.Close()
	}
}

// Renew is for after a change of this host's network: sessions are asked for a sign of life, a dial under way
// begins anew, and what dials met before says nothing any more.
func (p *Pool) Renew() {
	p.mu.Lock()
	p.failed = failedDial{}
	if d := p.dialing; d != nil {
		d.void = true
		d.stop()
		p.dialing = nil
	}
	sessions := slices.Clone(p.sessions)
	p.mu.Unlock()
	for _, s := range sessions {
		s.Check()
	}
}

func (p *Pool) isVoid(d *dialing) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return d.void
}

// wait waits for the end of a dial, for no longer than patience if the one before it was in vain.
func (d *dialing) wait(ctx context.Context, patience time.Duration) error {
	var enough <-chan time.Time // never, otherwise
	if d.after != nil && patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-d.done:
		return d.err
	case <-enough:
		return stillNoAnswer(d.after, patience)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stillNoAnswer is the failure of a dial once more, of the same mode and at the same stage.
func stillNoAnswer(before error, waited time.Duration) error {
	const format = "no answer within %v, and none a moment ago: %w"
	if e, ok := errors.AsType[*Error](before); ok {
		return &Error{Mode: e.Mode, Stage: e.Stage, Err: fmt.Errorf(format, waited, e.Err)}
	}
	return fmt.Errorf(format, waited, before)
}
