package dialer

import (
	"maps"
	"sync"
)

// table is a bounded map for concurrent use. When it is full, some other entry goes, which costs its owner a
// lookup. The zero value with a max is ready.
type table[K comparable, V any] struct {
	max int

	mu      sync.Mutex
	entries map[K]V
}

func (t *table[K, V]) load(k K) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.entries[k]
	return v, ok
}

// drop removes the entries that are not wanted.
func (t *table[K, V]) drop(unwanted func(V) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.entries, func(_ K, v V) bool { return unwanted(v) })
}

func (t *table[K, V]) store(k K, v V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entries == nil {
		t.entries = make(map[K]V)
	}
	if _, ok := t.entries[k]; !ok && len(t.entries) >= t.max {
		for victim := range t.entries {
			delete(t.entries, victim)
			break
		}
	}
	t.entries[k] = v
}
