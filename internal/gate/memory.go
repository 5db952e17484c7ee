package gate

import (
	"runtime/debug"
	"runtime/metrics"
)

// Memory tells how much of it is in use.
type Memory interface {
	// Use returns the bytes in use that no garbage collection would free, as the last one has found, and how
	// many there have been.
	Use() (bytes int64, collections uint64)
	// Resident returns the bytes that the process takes, with garbage, after a call of Use.
	Resident() int64
	// Collect runs a garbage collection, and gives back what it brings.
	Collect()
}

// What Use reads. All but the first two are parts of the total.
const (
	live = iota
	cycles
	total
	objects // what lives, and garbage
	unused
	free
	released
	samples
)

// runtimeMemory is that of this process. It is for one goroutine at a time.
type runtimeMemory struct{ read [samples]metrics.Sample }

func newRuntimeMemory() *runtimeMemory {
	m := new(runtimeMemory)
	for i, name := range [samples]string{
		live:     "/gc/heap/live:bytes",
		cycles:   "/gc/cycles/total:gc-cycles",
		total:    "/memory/classes/total:bytes",
		objects:  "/memory/classes/heap/objects:bytes",
		unused:   "/memory/classes/heap/unused:bytes",
		free:     "/memory/classes/heap/free:bytes",
		released: "/memory/classes/heap/released:bytes",
	} {
		m.read[i].Name = name
	}
	return m
}

// Use counts the heap's live objects, and the stacks and whatever else is no heap.
func (m *runtimeMemory) Use() (int64, uint64) {
	metrics.Read(m.read[:])
	heap := m.bytes(objects) + m.bytes(unused) + m.bytes(free) + m.bytes(released)
	return m.bytes(live) + m.bytes(total) - heap, m.read[cycles].Value.Uint64()
}

// mapped is what the runtime has of the system, whether or not it has ever touched it.
func (m *runtimeMemory) mapped() int64 { return m.bytes(total) - m.bytes(released) }

func (m *runtimeMemory) bytes(i int) int64 { return int64(m.read[i].Value.Uint64()) }

// Collect gives the memory back to the system too.
func (m *runtimeMemory) Collect() { debug.FreeOSMemory() }
