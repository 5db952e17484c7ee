package h3

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBacklog(t *testing.T) {
	const slow = 7 * time.Millisecond
	tests := []struct {
		name      string
		delivered uint64
		processed map[time.Duration]uint64 // what the connection has done at a time
		took      time.Duration
		left      uint64 // what counts as delivered behind it
	}{
		{"nothing", 0, nil, 0, 0},
		{"little", maxBacklog, nil, 0, maxBacklog},
		{"much", maxBacklog + 2, map[time.Duration]uint64{slow: 2}, slow, maxBacklog + 2},
		{"much, and slow", maxBacklog + 3, map[time.Duration]uint64{
			slow: 1, 2 * slow: 2, 3 * slow: 3,
		}, 3 * slow, maxBacklog + 3},
		{"packets for nobody", maxBacklog + 2, map[time.Duration]uint64{slow: 1}, slow + stallTime, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var processed atomic.Uint64
				for at, n := range tt.processed {
					time.AfterFunc(at, func() { processed.Store(n) })
				}
				b := backlog{processed: processed.Load}
				b.add(int(tt.delivered))
				began := time.Now()
				b.wait()
				if took := time.Since(began); took < tt.took || took > tt.took+pollTime {
					t.Errorf("wait took %v, want %v", took, tt.took)
				}
				if b.delivered != tt.left {
					t.Errorf("delivered = %d, want %d", b.delivered, tt.left)
				}
			})
		})
	}
}
