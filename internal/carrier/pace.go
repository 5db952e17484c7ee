package carrier

import (
	"slices"
	"time"
)

// The bounds of how long a mode has for itself before the next one starts too. HTTP/3 may meet a network that
// drops UDP without a word; HTTP/2 shares its fate with HTTP/1.1 up to a quick and clear answer.
const (
	h3HeadStart    = 250 * time.Millisecond
	maxH3HeadStart = time.Second
	h2HeadStart    = time.Second
	maxH2HeadStart = 2 * time.Second
)

// paceFor is how long a pace is believed after the last opening: by then the connection is gone, and the
// network may be another.
const paceFor = defaultIdle

// pace is how long a mode took lately to open: a round trip on a connection that is there, several without.
// The zero value knows nothing.
type pace struct {
	took [5]time.Duration // the last openings, in a ring
	n    int              // openings so far
	last time.Time        // when the last one ended
}

func (p *pace) add(took time.Duration, now time.Time) {
	if now.Sub(p.last) > paceFor {
		p.n = 0
	}
	p.took[p.n%len(p.took)] = took
	p.n++
	p.last = now
}

// enough is a time in which an opening like most of the last ones is done, with half as much again for the
// network's moods; zero if there were none. Now and then one takes a new connection, and counts for little.
func (p *pace) enough(now time.Time) time.Duration {
	n := min(p.n, len(p.took))
	if n == 0 || now.Sub(p.last) > paceFor {
		return 0
	}
	sorted := slices.Sorted(slices.Values(p.took[:n]))
	usual := sorted[(n-1)/2]
	return usual + usual/2
}

func headStarts(mode Mode) (least, most time.Duration) {
	if mode == H3 {
		return h3HeadStart, maxH3HeadStart
	}
	return h2HeadStart, maxH2HeadStart
}
