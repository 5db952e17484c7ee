package balancer

import (
	"slices"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// attempt is a connection over one path that a flow may end up with.
type attempt struct {
	path    *path[transport.StreamDialer]
	conn    transport.StreamConn
	inPlace transport.HeadroomWriter // conn, where it takes payloads in place; else nil
	room    transport.Headroom
	began   time.Time

	mu    sync.Mutex // held while something of the flight is sent, and never taken under the stream's
	sent  int        // bytes of it
	ended bool       // its end too
	err   error      // why nothing can be sent

	sendErr error // err, guarded by the stream's lock
}

func newAttempt(p *path[transport.StreamDialer], conn transport.StreamConn) *attempt {
	a := &attempt{path: p, conn: conn, began: time.Now()}
	if h, ok := conn.(transport.HeadroomWriter); ok {
		a.inPlace, a.room = h, h.Headroom()
	}
	return a
}

// pump sends what an attempt has not got of the flight yet. A failure shows to whoever reads from it.
func (s *stream) pump(a *attempt) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.err == nil {
		rest, ended := s.unsentTo(a)
		before := a.sent
		switch {
		case len(rest) > 0:
			a.path.Counters.sent(len(rest))
			_, a.err = a.conn.Write(rest)
			a.sent += len(rest)
		case ended && !a.ended:
			a.ended = true
			a.err = a.conn.CloseWrite()
		default:
			return nil
		}
		if a.err != nil {
			s.mu.Lock()
			a.sendErr = a.err
			if s.sole == a && before == 0 && len(rest) <= oneChunk {
				s.sole = nil // not a byte left
			}
			s.mu.Unlock()
			_ = a.conn.SetReadDeadline(time.Now().Add(lastWords)) // what the server said may still be there
		}
	}
	return a.err
}

// unsentTo returns what is left for an attempt, and whether the client has ended behind that. The attempt's
// lock is held.
func (s *stream) unsentTo(a *attempt) (rest []byte, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.sole {
	case nil:
	case a:
		n := min(a.sent-s.dropped, len(s.flight)) // nobody else will ever get that
		s.flight, s.dropped = s.flight[n:], s.dropped+n
	default:
		return nil, false
	}
	return s.flight[min(a.sent-s.dropped, len(s.flight)):], s.ended
}

// oneChunk fits one chunk of Shadowsocks, of which a server decrypts all or nothing.
const oneChunk = 8 << 10

// restrict sees to it that a flight that is not to be sent twice goes to one attempt alone. The caller holds
// mu.
func (s *stream) restrict() {
	if s.sole == nil && !s.mayRepeat() {
		s.choose()
	}
}

// choose gives the flight to one attempt alone, the first one while that takes it. Where there is none yet,
// nobody has got it, and the next one will. The caller holds mu.
func (s *stream) choose() {
	takes := func(a *attempt) bool { return a.sendErr == nil }
	if i := slices.IndexFunc(s.attempts, takes); i >= 0 && s.sole == nil {
		s.sole = s.attempts[i]
	}
	if s.sole == s.lead && s.racing > 0 {
		s.stopRivals()
	}
}
