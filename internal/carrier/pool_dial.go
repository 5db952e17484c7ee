package carrier

import (
	"context"
	"time"
)

// dialing is one dial that several flows wait for.
type dialing struct {
	done    chan struct{} // closed when it is over
	session Session       // valid then
	err     error         // valid then
	stop    context.CancelFunc
}

// dial starts a dial, which goes on when the flow that needed it gives up: the next one will need it too. The
// caller holds mu.
func (p *Pool) dial() {
	ctx, cancel := context.WithTimeout(context.Background(), orDefault(p.DialTimeout, defaultDial))
	d := &dialing{done: make(chan struct{}), stop: cancel}
	p.dialing = d
	p.workers.Go(func() {
		defer cancel()
		s, err := p.Dial(ctx)
		p.dialed(d, s, err)
	})
}

func (p *Pool) dialed(d *dialing, s Session, err error) {
	p.mu.Lock()
	d.session, d.err = s, err
	p.dialing = nil
	keep := err == nil && !p.closed
	if keep {
		p.sessions = append(p.sessions, pooled{s, time.Now()})
		p.sweepLater()
	}
	close(d.done)
	p.mu.Unlock()
	if err == nil && !keep {
		_ = s.Close()
	}
}
