package app

import (
	"os"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h2"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h3"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/gate"
)

const (
	// plenty is the limit from which on windows and buffers have their usual sizes.
	plenty = 1 << 30
	// windowBudget is what the receive windows of all HTTP/2 streams together may usually grow by.
	windowBudget = 128 << 20
	// leastWindow fills one of the blocks in which HTTP/2 holds what arrived.
	leastWindow = 16 << 10

	// textSize is what the program's text takes, with the sockets that the kernel holds for idle flows.
	textSize = 18 << 20
	// What a flow takes over each carrier while nothing moves in it, with the sockets that the kernel holds
	// for it.
	flowH1 = 48 << 10
	flowH2 = 20 << 10
	flowH3 = 32 << 10
	// There is one association, and one connection on its way in, for so much memory.
	rareSize = 320 << 10
	// maxFlows is how many flows there may be whatever the memory. It is the number of connections that the
	// inbound takes.
	maxFlows = 16384
)

// memory is what the program makes of a limit for the whole process. The zero value is no limit.
type memory struct {
	heap    int64 // bytes that the Go runtime keeps to while it can
	windows windows
	socket  int // bytes each way in the socket of an application; 0 = what the system wants
	tunnel  int // bytes that the windows of the full tunnel may hold; 0 = the usual ones
	flows   gate.Limits
	outside int // connections of applications whose flows are not let in; 0 = any number
}

// windows are the receive windows of carriers. The zero value is the usual ones.
type windows struct {
	h2 h2.Windows
	h3 h3.Windows
}

// memoryLimit is the limit of a configuration in bytes; 0 is none. Who sets GOMEMLIMIT looks after memory
// himself, unless the file says something else.
func memoryLimit(c *config.Config) int64 {
	switch {
	case c.MemoryLimit != config.MemoryAuto:
		return c.MemoryLimit
	case os.Getenv("GOMEMLIMIT") != "":
		return 0
	}
	return groupMemory(os.DirFS("/")) / 10 * 9
}

// flowSize is what a flow takes over the carrier that an upstream prefers; the largest counts.
func flowSize(c *config.Config) int64 {
	size := int64(flowH2)
	for _, u := range c.Upstreams {
		target, err := carrier.ParseTarget(u.TCP.Reveal())
		if err != nil {
			continue // it carries UDP alone
		}
		switch target.Modes[0] {
		case carrier.H1:
			size = max(size, flowH1)
		case carrier.H3:
			size = max(size, flowH3)
		case carrier.H2:
		}
	}
	return size
}

// memoryOf shares out a limit, 0 is none, for flows of a size.
//
// What the text leaves is for flows. Go's runtime keeps to a little less, because of what the kernel holds,
// most of all sockets. Windows and buffers shrink with the limit, so that servers cannot fill it by sending
// to applications that do not read. There may be as many flows as fit while all are idle; when they take
// more, the gate finds out.
func memoryOf(limit, flow int64) memory {
	if limit <= 0 {
		return memory{}
	}
	own := max(limit-textSize, limit/4)
	few := int(min(own/rareSize, maxFlows))
	m := memory{
		heap: own / 16 * 15,
		flows: gate.Limits{
			Streams: int(min(own/flow, maxFlows)), Packets: few, Waiting: few / 2,
			Process: own, Heap: own / 16 * 15,
		},
		outside: few,
	}
	if limit < plenty {
		m.windows.h2 = h2.Windows{
			Base: max(limit/4096, leastWindow), First: max(limit/1024, leastWindow), Growth: limit / 32,
		}
		share := uint64(limit) // a connection has room for 64 streams that were fast and that nobody reads
		m.windows.h3 = h3.Windows{First: share / 4096, Most: share / 1024, Conn: share / 16}
		m.socket = int(limit / 1024)
		m.tunnel = int(limit / 16)
	}
	return m
}

// budget returns a new budget for the windows of HTTP/2.
func (w windows) budget() *h2.Budget {
	if w.h2 == (h2.Windows{}) {
		return h2.NewBudget(windowBudget)
	}
	return h2.NewBudgetOf(w.h2)
}

// heapLimit is the one of Go's runtime. It belongs to the whole process, so that GOMEMLIMIT is in force while
// we have none.
type heapLimit struct {
	set    func(int64) int64 // debug.SetMemoryLimit
	before int64             // what was in force without us; 0 while that is
}

// use puts a limit into force; 0 is the one from before.
func (h *heapLimit) use(limit int64) {
	switch {
	case limit == 0 && h.before == 0:
	case limit == 0:
		h.set(h.before)
		h.before = 0
	case h.before == 0:
		h.before = h.set(limit)
	default:
		h.set(limit)
	}
}

// cutNewest resets the newest flows of every inbound, one in so many, and returns how many these were.
func (a *App) cutNewest(oneIn int, cause error) int {
	n := a.server.CutNewest(oneIn, cause)
	if a.tunnel != nil {
		n += a.tunnel.server.CutNewest(oneIn, cause)
	}
	return n
}
