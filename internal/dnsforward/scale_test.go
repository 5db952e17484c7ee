package dnsforward

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestManyQueries: memory is back at its baseline when they are answered, with a full cache, and no goroutine
// is left.
func TestManyQueries(t *testing.T) {
	const queries, clients = 100_000 / scaleDown, 64
	z := &zone{t: t}
	z.udp = func(_ string, q []byte) [][]byte { return [][]byte{answer(t, q, 60, 2)} }
	f := z.forward(Options{CacheBytes: 256 << 10})
	run := func(from, to int) {
		var asking sync.WaitGroup
		for c := range clients {
			asking.Go(func() {
				for i := from + c; i < to; i += clients {
					q := query(t, uint16(i), fmt.Sprintf("n%d.example.", i), typeA)
					if _, err := f.Query(t.Context(), q); err != nil {
						t.Errorf("query %d = %v", i, err)
						return
					}
				}
			})
		}
		asking.Wait()
		z.log()
		z.ids = nil
	}
	run(0, queries/10) // fills the cache
	before, began := heap(), time.Now()
	run(queries/10, queries)
	t.Logf("%v a query", time.Since(began)/(queries*9/10))
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("%d queries leave %d bytes behind", queries, grown)
	}
	if sockets, streams := z.opened(); sockets != 1 || streams != 0 {
		t.Errorf("%d sockets, %d streams, want one socket", sockets, streams)
	}
	z.end(f)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
