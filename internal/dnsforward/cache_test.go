package dnsforward

import (
	"fmt"
	"testing"
	"time"
)

var began = time.Unix(1000, 0)

func newCache(size int) *cache {
	return &cache{limits: cacheLimits{
		bytes: size, minTTL: 5 * time.Second, maxTTL: time.Hour, maxNeg: time.Minute,
	}}
}

// wantKept says for how long the answer is given, to the second.
func wantKept(t *testing.T, what string, c *cache, a []byte, want time.Duration) {
	t.Helper()
	c.store("key", a, began)
	if want > 0 {
		if _, ok := c.lookup("key", began.Add(want-1)); !ok {
			t.Errorf("%s: gone before %v", what, want)
		}
	}
	if _, ok := c.lookup("key", began.Add(want)); ok {
		t.Errorf("%s: there after %v", what, want)
	}
}

func TestTimeBounds(t *testing.T) {
	c := newCache(1 << 20)
	q := query(t, 1, "one.example.", typeA)
	wantKept(t, "an answer", c, answer(t, q, 60, 1), time.Minute)
	wantKept(t, "short", c, answer(t, q, 1, 1), 5*time.Second)
	wantKept(t, "long", c, answer(t, q, 1<<30, 1), time.Hour)
	wantKept(t, "zero", c, answer(t, q, 0, 1), 0)
	negative := response(t, q)
	negative.Authorities = append(negative.Authorities, soa(3600, 3600))
	wantKept(t, "long and negative", c, pack(t, negative), time.Minute)
	if c.size != 0 || len(c.entries) != 0 {
		t.Errorf("%d bytes in %d entries after all expired, want none", c.size, len(c.entries))
	}
}

// TestTTLsNeverWrap: an answer that is kept for longer than its TTL has zeros at last.
func TestTTLsNeverWrap(t *testing.T) {
	c := newCache(1 << 20)
	c.store("key", answer(t, query(t, 1, "one.example.", typeA, 1232), 2, 3), began)
	for age, want := range []uint32{2, 1, 0, 0, 0} {
		a, ok := c.lookup("key", began.Add(time.Duration(age)*time.Second))
		if !ok {
			t.Fatalf("no answer after %d s", age)
		}
		for _, r := range unpack(t, a).Answers {
			if r.Header.TTL != want {
				t.Errorf("TTL after %d s = %d, want %d", age, r.Header.TTL, want)
			}
		}
	}
}

// TestCacheOwnsItsMemory: neither who stored an answer nor who got it can change it.
func TestCacheOwnsItsMemory(t *testing.T) {
	c := newCache(1 << 20)
	a := answer(t, query(t, 1, "one.example.", typeA), 60, 1)
	c.store("key", a, began)
	clear(a)
	first, _ := c.lookup("key", began)
	clear(first)
	second, ok := c.lookup("key", began)
	if !ok || len(unpack(t, second).Answers) != 1 {
		t.Errorf("answer = %x, %v", second, ok)
	}
}

func TestBoundedCache(t *testing.T) {
	const size = 64 << 10
	c := newCache(size)
	a := answer(t, query(t, 1, "one.example.", typeA), 60, 4)
	for i := range 10000 {
		c.store(fmt.Sprint(i), a, began)
		if _, ok := c.lookup("0", began); !ok {
			t.Fatalf("what is asked for all the time is gone after %d answers", i)
		}
		if c.size > size {
			t.Fatalf("%d bytes after %d answers, want at most %d", c.size, i, size)
		}
	}
	if _, ok := c.lookup("1", began); ok {
		t.Error("what nobody asks for is there")
	}
	if n := len(c.entries); n < 50 || n != c.order.Len() {
		t.Errorf("%d entries, %d in order", n, c.order.Len())
	}
	c.store("large", answer(t, query(t, 1, "one.example.", typeA), 60, 4096), began)
	if _, ok := c.lookup("large", began); ok {
		t.Error("an answer larger than the cache is there")
	}
	if _, ok := c.lookup("0", began); !ok {
		t.Error("an answer larger than the cache has driven others out")
	}
}

func TestLatestAnswerCounts(t *testing.T) {
	c := newCache(1 << 20)
	q := query(t, 1, "one.example.", typeA)
	c.store("key", answer(t, q, 60, 1), began)
	size := c.size
	c.store("key", answer(t, q, 60, 3), began)
	a, ok := c.lookup("key", began)
	if !ok || len(unpack(t, a).Answers) != 3 || len(c.entries) != 1 || c.size <= size {
		t.Errorf("answer = %x, %v; %d entries of %d bytes", a, ok, len(c.entries), c.size)
	}
}

func BenchmarkLookup(b *testing.B) {
	c := newCache(1 << 20)
	c.store("key", answer(b, query(b, 1, "one.example.", typeA), 60, 4), began)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.lookup("key", began); !ok {
			b.Fatal("gone")
		}
	}
}
