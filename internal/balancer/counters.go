package balancer

import "sync/atomic"

// Counters are what flows did on a path. The zero value is ready. Paths that come after one another may share
// them.
type Counters struct {
	Selected              atomic.Uint64 // flows that were given to it, moved ones included
	BytesIn, BytesOut     atomic.Uint64 // payload
	PacketsIn, PacketsOut atomic.Uint64 // datagrams
}

// received counts n bytes towards the client.
func (c *Counters) received(n int) { c.BytesIn.Add(uint64(n)) }

// sent counts n bytes that are about to leave for the target.
func (c *Counters) sent(n int) { c.BytesOut.Add(uint64(n)) }
