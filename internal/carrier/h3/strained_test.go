package h3

import "testing"

func TestStrained(t *testing.T) {
	s := newServer(t).start()
	near, far := s.open(s.client())
	defer near.Close()
	defer far.Close()
	set := func(change func(c *Conn)) {
		near.c.mu.Lock()
		defer near.c.mu.Unlock()
		change(near.c)
	}
	for _, step := range []struct {
		name   string
		change func(c *Conn)
		want   bool
	}{
		{"quiet", func(*Conn) {}, false},
		{"bulk", func(c *Conn) { c.moved.last = bulkVolume }, true},
		{"quiet again", func(c *Conn) { c.moved.last = 0 }, false},
		{"draining", func(c *Conn) { c.draining = true }, true},
	} {
		set(step.change)
		if got := near.Strained(); got != step.want {
			t.Errorf("%s: Strained() = %v, want %v", step.name, got, step.want)
		}
	}
}
