package dnsforward

import (
	"bytes"
	"container/list"
	"encoding/binary"
	"sync"
	"time"
)

// entryCost is what an entry takes beside its key and its answer, roughly.
const entryCost = 256

// cache remembers answers by the key of their query. When it is full, what was not asked for for longest
// goes.
type cache struct {
	limits cacheLimits

	mu      sync.Mutex
	entries map[string]*list.Element
	order   list.List // of *entry, the latest used first
	size    int       // bytes
}

// cacheLimits bound memory and time. What is kept at all is kept for minTTL at least.
type cacheLimits struct {
	bytes                  int
	minTTL, maxTTL, maxNeg time.Duration
}

type entry struct {
	key             string
	answer          []byte
	ttlsAt          []int
	stored, expires time.Time
}

func (e *entry) cost() int { return entryCost + len(e.key) + len(e.answer) + 8*len(e.ttlsAt) }

// store keeps a copy of an answer for as long as its records allow.
func (c *cache) store(key string, answer []byte, now time.Time) {
	f, ok := judge(answer)
	if !ok {
		return
	}
	limit := c.limits.maxTTL
	if f.negative {
		limit = min(limit, c.limits.maxNeg)
	}
	ttl := min(max(f.ttl, c.limits.minTTL), limit)
	e := &entry{key: key, answer: bytes.Clone(answer), ttlsAt: f.ttlsAt, stored: now, expires: now.Add(ttl)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[key]; old != nil {
		c.remove(old)
	}
	if e.cost() > c.limits.bytes {
		return
	}
	if c.entries == nil {
		c.entries = make(map[string]*list.Element)
	}
	c.entries[key] = c.order.PushFront(e)
	c.size += e.cost()
	for c.size > c.limits.bytes {
		c.remove(c.order.Back())
	}
}

// lookup returns a copy of the answer, with what is left of its TTLs.
func (c *cache) lookup(key string, now time.Time) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.entries[key]
	if found == nil {
		return nil, false
	}
	e := found.Value.(*entry)
	if !now.Before(e.expires) {
		c.remove(found)
		return nil, false
	}
	c.order.MoveToFront(found)
	return e.aged(now), true
}

func (e *entry) aged(now time.Time) []byte {
	answer := bytes.Clone(e.answer)
	age := uint32(now.Sub(e.stored) / time.Second)
	for _, at := range e.ttlsAt {
		ttl := binary.BigEndian.Uint32(answer[at:])
		binary.BigEndian.PutUint32(answer[at:], ttl-min(ttl, age))
	}
	return answer
}

// remove forgets an entry. The caller holds mu.
func (c *cache) remove(el *list.Element) {
	e := el.Value.(*entry)
	c.order.Remove(el)
	delete(c.entries, e.key)
	c.size -= e.cost()
}
