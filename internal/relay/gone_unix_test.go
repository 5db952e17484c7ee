//go:build unix

package relay

import (
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		does func(far transport.StreamConn)
		want bool
	}{
		{"open", func(transport.StreamConn) {}, false},
		{"half closed", func(far transport.StreamConn) { _ = far.CloseWrite() }, false},
		{"reset", func(far transport.StreamConn) { _ = transport.Abort(far) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := transporttest.TCPPair(t)
			// It stays unread, so that the reset is what there is to see.
			if _, err := far.Write(payload(1)); err != nil {
				t.Fatal(err)
			}
			tt.does(far)
			if tt.want {
				for range 1000 { // the loopback delivers at once, if not at the very moment
					if gone(near) {
						return
					}
				}
			}
			if got := gone(near); got != tt.want {
				t.Errorf("gone = %v, want %v", got, tt.want)
			}
		})
	}
}
