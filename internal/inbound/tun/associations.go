package tun

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Associations at once, unless the settings say otherwise.
const (
	defaultMaxUDP         = 16384
	defaultMaxUDPByClient = 4096
)

// udpLimits bound a table.
type udpLimits struct{ all, byClient int }

func (s *Settings) udpLimits() udpLimits {
	l := udpLimits{s.MaxUDP, s.MaxUDPByClient}
	if l.all <= 0 {
		l.all = defaultMaxUDP
	}
	if l.byClient <= 0 {
		l.byClient = defaultMaxUDPByClient
	}
	return l
}

// associations is the table of the associations, by the address and port that they are for. A new one takes
// the place of that which was unused for longest: among those of its client when it has too many, else among
// all. The zero value is empty.
type associations struct {
	running sync.WaitGroup // grows only under mu and before closed

	mu       sync.Mutex
	closed   bool
	bySource map[netip.AddrPort]*association
	byClient map[netip.Addr]*list.List // of *association, the latest used first
	all      list.List                 // of *association, the latest used first
	live     int                       // those that run, also when they are out of the table
}

// find returns the association of a source, or nil. It is used now, and may be unused for as long as idle, at
// least, from now on.
func (t *associations) find(source netip.AddrPort, now time.Time, idle time.Duration) *association {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.bySource[source]
	if a != nil {
		t.use(a, now)
		a.idle = max(a.idle, idle)
	}
	return a
}

// touch notes that a is used.
func (t *associations) touch(a *association, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bySource[a.source] == a {
		t.use(a, now)
	}
}

// use notes it. The caller holds mu.
func (t *associations) use(a *association, now time.Time) {
	a.used = now
	t.all.MoveToFront(a.all)
	t.byClient[a.source.Addr()].MoveToFront(a.own)
}

// open puts a into the table and starts run, which close waits for. It returns false when the table is
// closed, or when too many that were ended have not come to their end.
func (t *associations) open(a *association, limits udpLimits, run func()) bool {
	t.mu.Lock()
	if t.closed || t.live >= 2*limits.all {
		t.mu.Unlock()
		return false
	}
	evicted := t.makeRoom(a.source.Addr(), limits)
	t.insert(a)
	t.live++
	t.running.Go(func() {
		defer t.done()
		run()
	})
	t.mu.Unlock()
	for _, old := range evicted {
		old.cancel()
	}
	return true
}

// makeRoom takes out of the table whom a new association of client replaces. The caller holds mu.
func (t *associations) makeRoom(client netip.Addr, limits udpLimits) (evicted []*association) {
	if own := t.byClient[client]; own != nil {
		for own.Len() >= limits.byClient {
			evicted = append(evicted, t.remove(own.Back()))
		}
	}
	for t.all.Len() >= limits.all {
		evicted = append(evicted, t.remove(t.all.Back()))
	}
	return evicted
}

// insert puts a new association in front of all. The caller holds mu.
func (t *associations) insert(a *association) {
	if t.bySource == nil {
		t.bySource = make(map[netip.AddrPort]*association)
		t.byClient = make(map[netip.Addr]*list.List)
	}
	client := a.source.Addr()
	own := t.byClient[client]
	if own == nil {
		own = list.New()
		t.byClient[client] = own
	}
	a.all, a.own = t.all.PushFront(a), own.PushFront(a)
	t.bySource[a.source] = a
}

// remove takes an association out of the table. The caller holds mu, and cancels it afterwards.
func (t *associations) remove(e *list.Element) *association {
	a := e.Value.(*association)
	client := a.source.Addr()
	own := t.byClient[client]
	t.all.Remove(a.all)
	own.Remove(a.own)
	if own.Len() == 0 {
		delete(t.byClient, client)
	}
	delete(t.bySource, a.source)
	if len(t.bySource) == 0 { // a map keeps the room that it once needed
		t.bySource, t.byClient = nil, nil
	}
	return a
}

// forget takes a out of the table, if it is there.
func (t *associations) forget(a *association) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bySource[a.source] == a {
		t.remove(a.all)
	}
}

// sweep ends the associations that were idle for too long and returns how many there are left.
func (t *associations) sweep(now time.Time) int {
	t.mu.Lock()
	var idle []*association
	for e := t.all.Back(); e != nil; {
		before := e.Prev()
		if a := e.Value.(*association); now.Sub(a.used) >= a.idle {
			idle = append(idle, t.remove(e))
		}
		e = before
	}
	left := t.all.Len()
	t.mu.Unlock()
	for _, a := range idle {
		a.cancel()
	}
	return left
}

// start runs f in a goroutine that close waits for, unless the table is closed.
func (t *associations) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Go(f)
	return true
}

func (t *associations) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live--
}

// close ends all associations and waits for them and for what start started.
func (t *associations) close() {
	t.mu.Lock()
	t.closed = true
	var open []*association
	for t.all.Len() > 0 {
		open = append(open, t.remove(t.all.Back()))
	}
	t.mu.Unlock()
	for _, a := range open {
		a.cancel()
	}
	t.running.Wait()
}
