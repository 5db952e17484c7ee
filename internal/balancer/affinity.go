package balancer

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Affinity is what stays on one upstream while that is usable.
type Affinity uint8

// The affinities.
const (
	NoAffinity     Affinity = iota
	ClientAffinity          // the IP address of a client
	TargetAffinity          // the host of a target; UDP has none, since an association has many
)

const (
	// homeTime is how long a home is kept that nobody uses.
	homeTime = 30 * time.Minute
	// maxHomes bounds each of the two generations of homes.
	maxHomes = 8192
)

// key is what a flow to addr is known by; empty: nothing.
func (a Affinity) key(ctx context.Context, addr string) string {
	switch a {
	case ClientAffinity:
		if client := transport.Client(ctx); client.IsValid() {
			return client.Unmap().WithZone("").String()
		}
	case TargetAffinity:
		if host, _, err := net.SplitHostPort(addr); err == nil {
			return host
		}
	case NoAffinity:
	}
	return ""
}

// homes remembers which path flows with a key go over. It keeps those used last, in two generations: when the
// young one is full it becomes the old one, which is forgotten.
type homes[D any] struct {
	mu         sync.Mutex
	young, old map[string]home[D]
}

type home[D any] struct {
	path *path[D]
	used time.Time
}

// find returns nil for a key without a home.
func (h *homes[D]) find(key string, now time.Time) *path[D] {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, ok := h.young[key]
	if !ok {
		found, ok = h.old[key]
	}
	if !ok || now.Sub(found.used) > homeTime {
		return nil
	}
	return found.path
}

func (h *homes[D]) put(key string, p *path[D], now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.young) >= maxHomes {
		h.young, h.old = nil, h.young
	}
	if h.young == nil {
		h.young = make(map[string]home[D])
	}
	h.young[key] = home[D]{p, now}
}
