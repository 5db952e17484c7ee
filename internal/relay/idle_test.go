package relay

import (
	"runtime"
	"sync"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// inUse is the memory of goroutines' stacks and the heap.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // the first empties the pools, the second frees what they held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Idle flows hold no buffer, also after they were busy.
func TestIdleFlowsHoldNoBuffer(t *testing.T) {
	const flows = 1000
	if a, _ := tcpPair(t); newSocketSource(a) == nil {
		t.Skip("no way to wait for a socket without a buffer on this system")
	}
	type ends struct{ app, client, target, far transport.StreamConn }
	all := make([]ends, flows)
	for i := range all {
		e := &all[i]
		e.app, e.client = tcpPair(t)
		e.target, e.far = tcpPair(t)
	}
	before := inUse()
	var relays sync.WaitGroup
	for _, e := range all {
		relays.Go(func() { Streams(t.Context(), e.client, e.target, Limits{}) })
	}
	chunk := payload(bufferSize)
	for _, e := range all {
		mustWrite(t, e.app, chunk)
		mustRead(t, e.far, len(chunk))
		mustWrite(t, e.far, chunk)
		mustRead(t, e.app, len(chunk))
	}
	each := (inUse() - before) / flows
	t.Logf("%.1f KiB per idle flow, goroutines included", float64(each)/1024)
	if each >= bufferSize {
		t.Errorf("%d bytes per idle flow, want less than one buffer of %d", each, bufferSize)
	}
	for _, e := range all {
		_, _ = e.app.CloseWrite(), e.far.CloseWrite()
	}
	relays.Wait()
}
