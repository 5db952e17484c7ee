package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// When one target after another ends its flow without an answer, it may be the server that reaches none.
func TestTargetsThatAllRefuseAreTrouble(t *testing.T) {
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		s.ups[0].serve = func(conn *transporttest.PipeConn) {
			_ = conn.CloseWrite()
			s.ups[0].swallow(conn)
		}
		refused := func(addr string) {
			conn, err := s.DialStream(t.Context(), addr)
			if err != nil {
				t.Fatal(err)
			}
			s.conns = append(s.conns, conn)
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("Read() = %v, want EOF", err)
			}
		}
		refused("one:443")
		refused("one:443")
		if len(s.trouble) > 0 {
			t.Errorf("trouble %v for a target that refuses", s.trouble)
		}
		refused("two:443")
		if !slices.Equal(s.trouble, []int{0}) || s.ups[0].cooling() {
			t.Errorf("trouble %v, want it once", s.trouble)
		}
	})
}

// refusing is an upstream on which no target can be reached.
type refusing struct{ *fakeUpstream }

func (r refusing) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	conn, err := r.fakeUpstream.DialStream(ctx, addr)
	return refused{conn}, err
}

type refused struct{ transport.StreamConn }

func (r refused) WaitRead() error { return fmt.Errorf("refused: %w", transport.ErrTarget) }
func (r refused) Abort() error    { return transport.Abort(r.StreamConn) }

// withRefusals runs test with upstreams of which the first n reach no target.
func withRefusals(t *testing.T, n int, test func(t *testing.T, s *setup, ask func(addr, say string) error)) {
	t.Helper()
	inBubble(t, 2, testOptions(), func(t *testing.T, s *setup) {
		var members []Member
		for i, f := range s.ups {
			f.serve = f.answering(0)
			var d transport.StreamDialer = f
			if i < n {
				d = refusing{f}
			}
			p := &Path[transport.StreamDialer]{Dialer: d, Fresh: d, Health: f.record}
			members = append(members, Member{Name: f.name, Stream: p})
		}
		s.Balancer = New(members, s.streams.lineup.Load().options)
		test(t, s, func(addr, say string) error {
			conn, err := s.DialStream(t.Context(), addr)
			if err != nil {
				t.Fatal(err)
			}
			s.conns = append(s.conns, conn)
			send(t, conn, say)
			_, err = conn.Read(make([]byte, 1))
			return err
		})
	})
}

// A flow whose upstream reaches no target is saved, once that is likely.
func TestAnotherUpstreamReachesTheTarget(t *testing.T) {
	withRefusals(t, 1, func(t *testing.T, s *setup, ask func(addr, say string) error) {
		for _, addr := range []string{"one:443", "one:443"} {
			if err := ask(addr, hello); !errors.Is(err, transport.ErrTarget) || s.ups[1].dialed() > 0 {
				t.Errorf("the first refusal: %v; %d dials elsewhere", err, s.ups[1].dialed())
			}
		}
		if err := ask("two:443", post); err == nil || s.ups[1].dialed() > 0 {
			t.Errorf("a request that may not be repeated: %v; %d dials elsewhere", err, s.ups[1].dialed())
		}
		if err := ask("three:443", hello); err != nil {
			t.Error(err)
		}
		if !s.ups[0].cooling() {
			t.Error("the upstream that reaches no target is not cooling")
		}
	})
}

// Targets that refuse whoever asks are no upstream's fault.
func TestTargetsThatRefuseEverybody(t *testing.T) {
	withRefusals(t, 2, func(t *testing.T, s *setup, ask func(addr, say string) error) {
		for i := range 20 {
			if err := ask(fmt.Sprintf("host-%d:443", i), hello); err == nil {
				t.Error("an answer from a target that refuses")
			}
		}
		if s.ups[0].cooling() || s.ups[1].cooling() {
			t.Error("targets that refuse were taken for failures")
		}
		if n := s.ups[1].dialed(); n != 19 {
			t.Errorf("the other upstream was asked %d times, want 19", n)
		}
	})
}
