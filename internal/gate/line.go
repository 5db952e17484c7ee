package gate

import "sync/atomic"

// line is where flows of one kind enter, one after the other.
type line struct {
	most    atomic.Int64 // 0 = any number
	inside  atomic.Int64
	waiting atomic.Int64
	turn    chan struct{} // holds the right to look for room, which those who wait pass on
	left    chan struct{} // says that somebody has; holds one

	refusedFlows, refusedMemory atomic.Uint64
}

func (l *line) open() {
	l.turn, l.left = make(chan struct{}, 1), make(chan struct{}, 1)
	signal(l.turn)
}

// take takes a place if there is one.
func (l *line) take() bool {
	most := l.most.Load()
	if n := l.inside.Add(1); most > 0 && n > most {
		l.inside.Add(-1)
		return false
	}
	return true
}

func (l *line) leave() {
	l.inside.Add(-1)
	signal(l.left)
}

// signal puts a sign into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stats are the flows of a gate, now and since the start.
type Stats struct {
	TCP, UDP Counts
	GivenUp  uint64 // flows that were ended because memory ran out
	Short    bool   // memory is at the moment
}

// Counts are the flows of one protocol.
type Counts struct {
	Inside, Waiting int64
	RefusedFlows    uint64 // because there were too many
	RefusedMemory   uint64 // because memory was short
}

// Stats returns the counts.
func (g *Gate) Stats() Stats {
	return Stats{
		TCP: g.streams.counts(), UDP: g.packets.counts(),
		GivenUp: g.givenUp.Load(), Short: g.short.Load(),
	}
}

func (l *line) counts() Counts {
	return Counts{
		Inside: l.inside.Load(), Waiting: l.waiting.Load(),
		RefusedFlows: l.refusedFlows.Load(), RefusedMemory: l.refusedMemory.Load(),
	}
}
