package balancer

import (
	"errors"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// refusedError is a refusal by a target on a path on which all targets refuse. It is no transport.ErrTarget:
// another path may well be of help.
type refusedError struct{ refusal error }

func (e *refusedError) Error() string { return e.refusal.Error() }

// weigh looks at how the first path's read ended. Where one target after another ends its flow without an
// answer, the path is probed, and a refusal is not believed while there is another path to ask.
func (s *stream) weigh(err error) error {
	now := time.Now()
	if !isEnd(err) || !s.lead.path.Health.Refused(now, s.target) {
		return err
	}
	s.group.options().Trouble(s.lead.path.Health)
	rest := s.group.lineup.Load().alternatives(now, s.lead.path)
	if errors.Is(err, transport.ErrTarget) && len(rest) > 0 && rest[0].usable(now) {
		return &refusedError{err}
	}
	return err
}
