package balancer

import (
	"errors"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// errDown is why flows are reset on a path that went down.
var errDown = errors.New("the upstream is down")

var _ flow = (*stream)(nil)

// leave implements flow. A client that has sent nothing waits for a target that speaks first, and its flow
// would never notice that its path is silent: another one is tried beside it.
func (s *stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sentAt.IsZero() && s.leadErr == nil {
		s.raceBesides()
	}
}

// reset implements flow. Without an answer yet, the flow goes on elsewhere, as far as it may.
func (s *stream) reset() {
	s.mu.Lock()
	settled := s.winner.Load() != nil
	if !settled && s.lead.sendErr == nil {
		s.lead.sendErr = errDown
	}
	s.mu.Unlock()
	if settled {
		_ = s.Abort()
		return
	}
	_ = transport.Abort(s.lead.conn)
}
