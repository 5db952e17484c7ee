package h2

import (
	"testing"
	"time"
)

func TestStrained(t *testing.T) {
	c, s := startServer(t)
	near, _ := openPair(t, c, s)
	set := func(change func(c *Conn)) {
		c.mu.Lock()
		defer c.mu.Unlock()
		change(c)
	}
	for _, step := range []struct {
		name   string
		change func(c *Conn)
		want   bool
	}{
		{"quiet", func(*Conn) {}, false},
		{"bulk", func(c *Conn) { c.meter.add(time.Now(), bulkRate) }, true},
		{"quiet again", func(c *Conn) { c.meter = meter{} }, false},
		{"draining", func(c *Conn) { c.draining = true }, true},
	} {
		set(step.change)
		if got := near.Strained(); got != step.want {
			t.Errorf("%s: Strained() = %v, want %v", step.name, got, step.want)
		}
	}
}
