package h1

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

var _ transport.PathWatcher = (*conn)(nil)

func TestUnacknowledged(t *testing.T) {
	const silence = 30_000 // ms
	for _, tt := range []struct {
		name string
		info unix.TCPInfo
		want time.Duration
	}{
		{"all is well", unix.TCPInfo{Last_ack_recv: 10}, 0},
		{"nothing was sent for long", unix.TCPInfo{Last_ack_recv: silence}, 0},
		{"a segment was lost", unix.TCPInfo{Last_ack_recv: silence, Retransmits: 1}, 0},
		{"closed window whose probes are answered", unix.TCPInfo{Last_ack_recv: silence, Probes: 1}, 0},
		{"data goes unanswered", unix.TCPInfo{Last_ack_recv: silence, Retransmits: 7}, 30 * time.Second},
		{"probes go unanswered", unix.TCPInfo{Last_ack_recv: silence, Probes: 5}, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := unacknowledged(&tt.info); got != tt.want {
				t.Errorf("unacknowledged = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestUnacknowledgedOfALiveConnection(t *testing.T) {
	client, _ := transporttest.TCPPair(t)
	c := &conn{socket: client, stream: client}
	if _, err := c.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if got := c.Unacknowledged(); got != 0 {
		t.Errorf("Unacknowledged = %v, want 0", got)
	}
}
