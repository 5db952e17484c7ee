package upstream_test

import (
	"errors"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

// Without a network, a stream on a shared connection would open and hang.
func TestRestRefuses(t *testing.T) {
	everyCarrier(t, func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream) {
		keep(t, s, u, 2)
		u.Rest()
		wait(t, s, func(stats outlinetest.Stats) bool { return stats.Live == 0 })
		for what, d := range map[string]transport.StreamDialer{"flow": u, "probe": u.ProbeStreams()} {
			if _, err := d.DialStream(t.Context(), "192.0.2.1:80"); !errors.Is(err, transport.ErrNoNetwork) {
				t.Errorf("stream of a %s = %v, want %v", what, err, transport.ErrNoNetwork)
			}
		}
		for what, l := range map[string]transport.PacketListener{"flow": u, "probe": u.ProbePackets()} {
			if _, err := l.ListenPacket(t.Context()); !errors.Is(err, transport.ErrNoNetwork) {
				t.Errorf("packets of a %s = %v, want %v", what, err, transport.ErrNoNetwork)
			}
		}
		u.Renew()
		keep(t, s, u, 2)
		conn, err := u.DialStream(t.Context(), "192.0.2.1:80")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	})
}
