package balancer

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// maxRivals is how many paths are tried at a time beside a silent one.
const maxRivals = 3

// firstAnswer waits for the first byte from whichever attempt has it. Afterwards there is a winner, unless it
// returns an error.
func (s *stream) firstAnswer() error {
	s.mu.Lock()
	failed := s.leadErr
	s.mu.Unlock()
	if failed == nil {
		settled, err := s.leadSaid(s.weigh(waitRead(s.lead.conn)))
		if settled {
			return err
		}
		s.leadFailed(err)
	}
	return s.awaitRivals()
}

// leadSaid takes what reading from the first attempt gave, and reports false when that failed.
func (s *stream) leadSaid(err error) (settled bool, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch w := s.winner.Load(); {
	case w == s.lead:
		return true, err
	case s.closed:
		return true, net.ErrClosed
	case w != nil: // a rival was faster and ended the first attempt
		return true, nil
	case err == nil:
		s.settle(s.lead)
		s.lead.path.Health.Answered(time.Now())
		return true, nil
	case isEnd(err):
		s.settle(s.lead)
		return true, err
	}
	return errors.Is(err, os.ErrDeadlineExceeded) && s.lead.sendErr == nil, err
}

// leadFailed has rivals try in the place of the first attempt.
func (s *stream) leadFailed(err error) {
	_ = transport.Abort(s.lead.conn)
	s.lead.mu.Lock()   // now nothing is being sent any more, and it is known what was
	s.lead.mu.Unlock() //nolint:staticcheck // it was a wait
	s.mu.Lock()
	if s.lead.sendErr != nil {
		err = s.lead.sendErr
	}
	s.leadErr = err
	s.remove(s.lead)
	if s.racing == 0 {
		s.race()
	}
	s.signal()
	closed := s.closed
	s.mu.Unlock()
	if _, refused := errors.AsType[*refusedError](err); !refused && !closed {
		s.suspect(s.lead.path)
	}
}

// suspect books that a path gave no answer. The target may be to blame for that, unless another path has one
// from it, or other targets give none either.
func (s *stream) suspect(p *path[transport.StreamDialer]) {
	p.Health.Stalled(time.Now(), s.target)
	s.group.options().Trouble(p.Health)
}

// remove takes an attempt out of those that get what the client sends. The caller holds mu.
func (s *stream) remove(a *attempt) {
	s.attempts = slices.DeleteFunc(slices.Clone(s.attempts), func(b *attempt) bool { return a == b })
}

// awaitRivals waits until one of the rivals has an answer, or none can any more.
func (s *stream) awaitRivals() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.winner.Load() != nil:
			return nil
		case s.closed || s.racing == 0:
			return s.leadErr
		case !s.waitChange(s.readBy):
			return os.ErrDeadlineExceeded
		}
	}
}

// waitChange waits until something has changed, and reports false when it has not by then; zero is never. The
// caller holds mu, which is free meanwhile.
func (s *stream) waitChange(by time.Time) bool {
	changed := s.changed
	s.mu.Unlock()
	defer s.mu.Lock()
	var late <-chan time.Time
	if !by.IsZero() {
		timer := time.NewTimer(time.Until(by))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-changed:
		return true
	case <-late:
		return false
	}
}

// startClock starts the time that the first path has for its answer. The caller holds mu.
func (s *stream) startClock() {
	if !s.sentAt.IsZero() {
		return
	}
	s.sentAt = time.Now()
	s.startDeadline(s.sentAt)
	if limit := s.group.patienceFor(s.lead.path); limit < never {
		s.silent = time.AfterFunc(limit, s.isSilent)
	}
}

// startDeadline begins the time within which further paths are tried. The caller holds mu.
func (s *stream) startDeadline(now time.Time) {
	if s.within > 0 {
		s.until = now.Add(s.within)
	}
}

// isSilent books the silence of the first path and tries others beside it.
func (s *stream) isSilent() {
	s.mu.Lock()
	if s.winner.Load() != nil || s.closed {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	silence := s.group.silenceOf(s.lead.path)
	stalls := !s.stalled && now.Sub(s.sentAt) >= silence
	s.stalled = s.stalled || stalls
	if s.isDue(now) {
		s.raceBesides()
	}
	if s.wantsRivals(now) || !s.stalled && silence < never {
		s.silent.Reset(max(s.group.options().Failover.patience(), minPatience))
	}
	s.mu.Unlock()
	if stalls {
		s.suspect(s.lead.path)
	}
}

// minPatience keeps a tiny hedge from starting all rivals at once.
const minPatience = 10 * time.Millisecond

// isDue reports whether another path may be tried by now. For a plain request of HTTP each rival that has it
// makes that wait four times as long: targets that take their time for an answer are common there, and would
// get the request as often. The caller holds mu.
func (s *stream) isDue(now time.Time) bool {
	patience := s.group.options().Failover.patience()
	if classify(s.flight, s.target) == classHTTP {
		rivals := len(s.attempts)
		if s.leadErr == nil {
			rivals--
		}
		patience <<= 2 * rivals
	}
	return !now.Before(s.raced.Add(patience))
}

// raceBesides starts a rival although the first path has not failed, if there is one. The caller holds mu.
func (s *stream) raceBesides() {
	if s.racing < maxRivals {
		s.race()
	}
}

// wantsRivals reports whether there may be another rival: an upstream that cannot be used now may be back
// soon. The caller holds mu.
func (s *stream) wantsRivals(now time.Time) bool {
	inTime := s.until.IsZero() || now.Before(s.until)
	return s.racing < maxRivals && s.mayReplay() && inTime
}

// mayReplay reports whether the flight may be sent over another path. The caller holds mu.
func (s *stream) mayReplay() bool {
	return s.sole == nil && (s.mayRepeat() || s.group.options().Failover.Replay != ReplayNever)
}

// mayRepeat reports whether the flight may be sent over several paths. The caller holds mu.
func (s *stream) mayRepeat() bool {
	switch s.group.options().Failover.Replay {
	case ReplayAny:
		return s.dropped == 0
	case ReplayNever:
		return s.dropped+len(s.flight) == 0
	case ReplaySafe:
	}
	return s.dropped == 0 && classify(s.flight, s.target) != classUnknown
}

// race starts a rival, if there is one. The caller holds mu.
func (s *stream) race() {
	if s.closed || s.winner.Load() != nil || !s.mayReplay() {
		return
	}
	now := time.Now()
	if s.until.IsZero() {
		s.startDeadline(now)
	}
	p, dialer := s.nextPath(now)
	if p == nil {
		return
	}
	if s.end == nil {
		s.all, s.end = context.WithCancel(s.group.all)
	}
	ctx := s.all
	s.raced = now
	s.racing++
	s.rivals.Go(func() { s.rival(ctx, p, dialer) })
}

// nextPath returns the best path that was not tried, with the way to dial it: one that works as far as we
// know; otherwise the first path once more, without connections from before; and if that has failed, any. The
// caller holds mu.
func (s *stream) nextPath(now time.Time) (*path[transport.StreamDialer], transport.StreamDialer) {
	if !s.until.IsZero() && now.After(s.until) {
		return nil, nil
	}
	tried := func(p *path[transport.StreamDialer]) bool { return slices.Contains(s.tried, p) }
	rest := slices.DeleteFunc(s.group.lineup.Load().alternatives(now, s.lead.path), tried)
	hopeful := len(rest) > 0 && rest[0].usable(now)
	hello := classify(s.flight, s.target) == classTLS // answered at once, unlike much else
	switch first := s.lead.path; {
	case !hopeful && !s.again && first.Fresh != nil && (s.leadErr != nil || hello):
		s.again = true
		s.tried = append(s.tried, first)
		return first, first.Fresh
	case hopeful, len(rest) > 0 && s.leadErr != nil:
		s.tried = append(s.tried, rest[0])
		return rest[0], rest[0].Dialer
	}
	return nil, nil
}

// rival tries a path, and others when that fails, until somebody has the answer.
func (s *stream) rival(ctx context.Context, p *path[transport.StreamDialer], dialer transport.StreamDialer) {
	for p != nil && !s.try(ctx, p, dialer) {
		s.mu.Lock()
		p = nil
		if ctx.Err() == nil && s.mayReplay() {
			p, dialer = s.nextPath(time.Now())
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.racing--
	s.signal()
	s.mu.Unlock()
}

// try makes one attempt, and reports false when another should be made.
func (s *stream) try(
	ctx context.Context, p *path[transport.StreamDialer], dialer transport.StreamDialer,
) (over bool) {
	p.dial(1)
	defer p.dial(-1)
	conn, err := dialer.DialStream(ctx, s.target)
	if err != nil {
		if ctx.Err() == nil && !health.IsLocal(err) {
			s.group.failed(p, err)
		}
		return ctx.Err() != nil
	}
	a := newAttempt(p, conn)
	if !s.join(a) {
		_ = transport.Abort(conn)
		return true
	}
	keepOn := context.AfterFunc(ctx, func() { _ = transport.Abort(conn) })
	_ = s.pump(a) // reading fails too then
	err = waitRead(conn)
	if err == nil && s.win(a, keepOn) {
		return true
	}
	keepOn()
	over = ctx.Err() != nil || err == nil || isEnd(err)
	s.mu.Lock()
	s.remove(a)
	if s.sole == a {
		s.stopRivals() // what it got is lost with it
	}
	s.mu.Unlock()
	_ = transport.Abort(conn)
	if over {
		return true
	}
	s.suspect(p)
	return false
}

// join has an attempt get what the client sends from now on. It reports false when nobody needs it.
func (s *stream) join(a *attempt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.winner.Load() != nil || !s.mayReplay() {
		return false
	}
	s.attempts = append(slices.Clone(s.attempts), a)
	s.restrict()
	s.signal()
	return true
}

// win makes a rival that has an answer the one. keepOn takes back what would abort it.
func (s *stream) win(a *attempt, keepOn func() bool) bool {
	s.mu.Lock()
	if s.closed || s.winner.Load() != nil || s.sole != nil && s.sole != a || !keepOn() {
		s.mu.Unlock()
		return false
	}
	silent := s.silentOnes()
	leadErr := s.leadErr
	_, _ = a.conn.SetReadDeadline(s.readBy), a.conn.SetWriteDeadline(s.writeBy)
	s.settle(a)
	s.lead.path.exit(s)
	a.path.enter(s)
	s.mu.Unlock()
	a.path.Health.Answered(time.Now())
	if leadErr != nil && a.path != s.lead.path {
		s.group.failed(s.lead.path, leadErr)
	}
	for _, p := range silent {
		if p != a.path {
			s.group.failed(p, ErrSilent)
		}
	}
	s.group.log.Debug("flow failed over", "upstream", a.path.name, "from", s.lead.path.name)
	_ = transport.Abort(s.lead.conn)
	return true
}

// silentOnes returns the paths that have had time enough for an answer. The caller holds mu.
func (s *stream) silentOnes() (paths []*path[transport.StreamDialer]) {
	for _, a := range s.attempts {
		since := a.began
		if a == s.lead && !s.sentAt.IsZero() {
			since = s.sentAt
		}
		if time.Since(since) >= s.group.silenceOf(a.path) {
			paths = append(paths, a.path)
		}
	}
	return paths
}

// settle ends the race. The caller holds mu.
func (s *stream) settle(a *attempt) {
	s.winner.Store(a)
	s.stopRivals()
	s.attempts, s.tried = nil, nil
	s.dropFlight()
}

// stopRivals ends those that run, and lets no more begin by themselves. The caller holds mu.
func (s *stream) stopRivals() {
	if s.silent != nil {
		s.silent.Stop()
	}
	if s.end != nil {
		s.end()
	}
}
