package balancer

import (
	"errors"
	"io"
	"slices"
	"testing"

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
