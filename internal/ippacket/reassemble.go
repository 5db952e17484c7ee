package ippacket

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Bounds of a Reassembler.
const (
	maxWholes    = 64      // packets in the making
	maxHeld      = 1 << 20 // bytes of them all
	maxFragments = 128     // of one packet: the largest one at an MTU of 576
	// fragmentPatience is how long the rest of a packet may take; Linux waits as long.
	fragmentPatience = 30 * time.Second
)

// ErrFragment says that a fragment contradicts the others of its packet, which is given up.
var ErrFragment = errors.New("fragments do not fit together")

// Reassembler puts fragments together. It holds a bounded number of packets, and gives the oldest up for a
// new one. The zero value is ready. It is not for concurrent use.
type Reassembler struct {
	wholes []*whole // the oldest first
	held   int      // bytes
	lost   int
}

// wholeKey is what the fragments of one packet have in common.
type wholeKey struct {
	source, target netip.Addr
	id             uint32
	protocol       uint8 // IPv4 alone: the header of IPv6 does not count it in
}

// whole is a packet in the making.
type whole struct {
	key      wholeKey
	deadline time.Time
	parts    []part // by place, without overlaps
	held     int    // bytes of them
	size     int    // of the whole, 0 while the last fragment is missing
	protocol uint8  // the first fragment's
}

type part struct {
	offset int
	data   []byte
}

func (p part) end() int { return p.offset + len(p.data) }

// after is positive if the part stands behind that offset.
func (p part) after(offset int) int { return p.offset - offset }

// Add takes a fragment and returns the whole when it was the last one missing; then ok is true. The fragment
// is copied, the whole is the caller's. Overlapping fragments make their packet void (RFC 5722), a repeated
// one does not matter.
func (r *Reassembler) Add(p *Packet, now time.Time) (all Packet, ok bool, err error) {
	r.Expire(now)
	if err := checkFragment(p); err != nil {
		return Packet{}, false, err
	}
	w := r.whole(p, now)
	added, err := w.add(p)
	r.held += added
	switch {
	case err != nil:
		r.giveUp(w)
		return Packet{}, false, err
	case w.complete():
		r.remove(w)
		all, err := w.packet()
		return all, err == nil, err
	}
	for r.held > maxHeld {
		r.giveUp(r.wholes[0])
	}
	return Packet{}, false, nil
}

// checkFragment refuses what can be no part of any packet.
func checkFragment(p *Packet) error {
	f := p.Fragment
	switch {
	case len(p.Payload) == 0, f.More && len(p.Payload)%8 != 0, f.Offset+len(p.Payload) > maxTotal:
		return ErrFragment
	}
	return nil
}

// whole returns the packet that p belongs to.
func (r *Reassembler) whole(p *Packet, now time.Time) *whole {
	key := wholeKey{source: p.Source, target: p.Target, id: p.Fragment.ID}
	if p.Source.Is4() {
		key.protocol = p.Protocol
	}
	for _, w := range r.wholes {
		if w.key == key {
			return w
		}
	}
	if len(r.wholes) >= maxWholes {
		r.giveUp(r.wholes[0])
	}
	w := &whole{key: key, deadline: now.Add(fragmentPatience)}
	r.wholes = append(r.wholes, w)
	return w
}

// Expire gives up what was not complete in time.
func (r *Reassembler) Expire(now time.Time) {
	for len(r.wholes) > 0 && !now.Before(r.wholes[0].deadline) {
		r.giveUp(r.wholes[0])
	}
}

// Pending is how many packets wait for fragments.
func (r *Reassembler) Pending() int { return len(r.wholes) }

// Lost returns how many fragments were given up since the last call, those that Add refused not counted.
func (r *Reassembler) Lost() int {
	lost := r.lost
	r.lost = 0
	return lost
}

func (r *Reassembler) giveUp(w *whole) {
	r.remove(w)
	r.lost += len(w.parts)
}

func (r *Reassembler) remove(w *whole) {
	i := slices.Index(r.wholes, w)
	r.wholes = slices.Delete(r.wholes, i, i+1)
	r.held -= w.held
}

// add takes a copy of the fragment into its place and returns how many bytes that are.
func (w *whole) add(p *Packet) (int, error) {
	offset, end := p.Fragment.Offset, p.Fragment.Offset+len(p.Payload)
	i, known := slices.BinarySearchFunc(w.parts, offset, part.after)
	if known && bytes.Equal(w.parts[i].data, p.Payload) {
		return 0, nil
	}
	if !w.fits(i, offset, end) || !w.agree(p, end) || len(w.parts) >= maxFragments {
		return 0, ErrFragment
	}
	if offset == 0 {
		w.protocol = p.Protocol
	}
	w.parts = slices.Insert(w.parts, i, part{offset, bytes.Clone(p.Payload)})
	w.held += len(p.Payload)
	return len(p.Payload), nil
}

// fits reports whether the bytes from offset to end overlap no part; i is where they would stand.
func (w *whole) fits(i, offset, end int) bool {
	return (i == 0 || w.parts[i-1].end() <= offset) && (i == len(w.parts) || end <= w.parts[i].offset)
}

// agree holds the end of the fragment against what is known of the whole's, and remembers it.
func (w *whole) agree(p *Packet, end int) bool {
	if p.Fragment.More {
		return w.size == 0 || end < w.size
	}
	if n := len(w.parts); w.size > 0 || n > 0 && w.parts[n-1].end() > end {
		return false
	}
	w.size = end
	return true
}

// complete: what does not overlap and adds up has no holes.
func (w *whole) complete() bool { return w.size > 0 && w.held == w.size }

// packet puts the parts together, as if the packet had never been cut.
func (w *whole) packet() (Packet, error) {
	h := header{w.key.source, w.key.target, w.protocol, uint16(w.key.id)}
	b, err := appendHeader(make([]byte, 0, header6+w.size), h, w.size)
	if err != nil {
		return Packet{}, err
	}
	start := len(b)
	for _, p := range w.parts {
		b = append(b, p.data...)
	}
	all := Packet{
		Source: h.source, Target: h.target, Protocol: h.protocol, Payload: b[start:], Whole: b,
	}
	if h.source.Is4() {
		return all, nil
	}
	if err := all.skipExtensions(); err != nil || all.IsFragment() { // there are no fragments of fragments
		return Packet{}, ErrMalformed
	}
	return all, nil
}
