package ippacket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var began = time.Unix(1000, 0)

// fragments cuts a packet without options into pieces with that much payload.
func fragments(b []byte, size int) [][]byte {
	head, payload := b[:header4], b[header4:]
	if b[0]>>4 == 6 {
		head, payload = b[:header6], b[header6:]
	}
	var all [][]byte
	for at := 0; at < len(payload); at += size {
		end := min(at+size, len(payload))
		all = append(all, fragment(head, payload[at:end], at, following(end < len(payload))))
	}
	return all
}

// follow says whether a fragment is the last one.
type follow uint16

const (
	last follow = iota
	more
)

func following(yes bool) follow { return map[bool]follow{false: last, true: more}[yes] }

// fragment is one piece, which stands at that offset.
func fragment(head, data []byte, at int, f follow) []byte {
	b := bytes.Clone(head)
	if b[0]>>4 == 4 {
		place := uint16(at / 8)
		place |= uint16(f) * 0x2000
		binary.BigEndian.PutUint16(b[2:], uint16(header4+len(data)))
		binary.BigEndian.PutUint16(b[6:], place)
		return append(b, data...)
	}
	place := uint16(at) | uint16(f)
	extension := []byte{b[6], 0, byte(place >> 8), byte(place), 0, 0, 0, 5}
	b[6] = extFragment
	binary.BigEndian.PutUint16(b[4:], uint16(len(extension)+len(data)))
	return append(append(b, extension...), data...)
}

// add gives fragments to r and returns the whole that the last one completed.
func add(t *testing.T, r *Reassembler, pieces ...[]byte) (Packet, bool) {
	t.Helper()
	for i, piece := range pieces {
		p := mustParse(t, piece)
		if !p.IsFragment() {
			t.Fatalf("piece %d is no fragment", i)
		}
		all, ok, err := r.Add(&p, began)
		if err != nil {
			t.Fatalf("Add(piece %d) = %v", i, err)
		}
		if ok {
			if i < len(pieces)-1 {
				t.Fatalf("complete after %d of %d pieces", i+1, len(pieces))
			}
			return all, true
		}
	}
	return Packet{}, false
}

// wantEmpty: whatever was taken is given back.
func wantEmpty(t *testing.T, r *Reassembler, lost int) {
	t.Helper()
	if got := r.Lost(); r.Pending() != 0 || r.held != 0 || got != lost {
		t.Errorf("%d packets with %d bytes pending, %d fragments lost, want none and %d",
			r.Pending(), r.held, got, lost)
	}
}

func TestReassembly(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := strings.Repeat("0123456789abcde", 300)
	for _, packet := range [][]byte{datagram(t, host4, server4, text), datagram(t, host6, server6, text)} {
		for _, size := range []int{8, 552, 1232, 1480, 4496} {
			pieces := fragments(packet, max(size, len(packet)/maxFragments&^7+8))
			for range 5 {
				var r Reassembler
				all, ok := add(t, &r, pieces...)
				if !ok {
					t.Fatalf("%d pieces do not make a whole", len(pieces))
				}
				if u, err := all.UDP(); err != nil || string(u.Payload) != text || all.IsFragment() {
					t.Errorf("whole of %d pieces = %d bytes, %v", len(pieces), len(u.Payload), err)
				}
				if !bytes.Equal(all.Whole, packet) {
					t.Error("the whole is not the packet that was cut")
				}
				wantEmpty(t, &r, 0)
				random.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
			}
		}
	}
}

// TestExtensionsInTheWhole: they are behind the fragment header, in the part that is cut.
func TestExtensionsInTheWhole(t *testing.T) {
	packet := datagram(t, host6, server6, "data in two")
	nested := extend(packet, extFragment, ProtocolUDP, 0, 0, 1, 0, 0, 0, 1)
	packet = extend(packet, extDestination, ProtocolUDP, 0, 1, 4, 0, 0, 0, 0)
	var r Reassembler
	all, ok := add(t, &r, fragments(packet, 16)...)
	if u, err := all.UDP(); !ok || err != nil || string(u.Payload) != "data in two" {
		t.Errorf("whole = %v, %q, %v", ok, u.Payload, err)
	}
	head := patch(nested[:header6], 6, extFragment)
	begin := mustParse(t, fragment(head, nested[header6:header6+16], 0, more))
	end := mustParse(t, fragment(head, nested[header6+16:], 16, last))
	if _, ok, err := r.Add(&begin, began); ok || err != nil {
		t.Fatalf("Add = %v, %v", ok, err)
	}
	if _, ok, err := r.Add(&end, began); ok || !errors.Is(err, ErrMalformed) {
		t.Errorf("a fragment of fragments = %v, %v, want %v", ok, err, ErrMalformed)
	}
	wantEmpty(t, &r, 0)
}

func TestRepeatedFragments(t *testing.T) {
	pieces := fragments(datagram(t, host4, server4, strings.Repeat("x", 64)), 24)
	var r Reassembler
	if _, ok := add(t, &r, pieces[1], pieces[1], pieces[0], pieces[0], pieces[2]); !ok {
		t.Error("repeated fragments keep the whole from being complete")
	}
	wantEmpty(t, &r, 0)
}

func TestContradictions(t *testing.T) {
	packet := datagram(t, host4, server4, strings.Repeat("x", 64))
	head := packet[:header4]
	piece := func(at, size int, f follow) []byte {
		return fragment(head, bytes.Repeat([]byte("y"), size), at, f)
	}
	tests := []struct {
		name   string
		pieces [][]byte // the last one is refused
	}{
		{"overlap at the end", [][]byte{piece(0, 16, more), piece(8, 16, more)}},
		{"overlap at the start", [][]byte{piece(16, 16, more), piece(0, 24, more)}},
		{"the same place, other bytes", [][]byte{piece(8, 8, more), piece(8, 16, more)}},
		{"two ends", [][]byte{piece(24, 8, last), piece(40, 8, last)}},
		{"beyond the end", [][]byte{piece(24, 8, last), piece(40, 8, more)}},
		{"an end before the rest", [][]byte{piece(40, 8, more), piece(24, 8, last)}},
		{"no multiple of eight", [][]byte{piece(0, 9, more)}},
		{"empty", [][]byte{piece(0, 0, more)}},
		{"beyond the largest packet", [][]byte{piece(65528, 16, last)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Reassembler
			n := len(tt.pieces) - 1
			add(t, &r, tt.pieces[:n]...)
			p := mustParse(t, tt.pieces[n])
			if _, ok, err := r.Add(&p, began); ok || !errors.Is(err, ErrFragment) {
				t.Errorf("Add = %v, %v, want %v", ok, err, ErrFragment)
			}
			wantEmpty(t, &r, n)
		})
	}
}

// TestLargestPacket: IPv4 counts the header in, so not everything that fits the offsets is a packet.
func TestLargestPacket(t *testing.T) {
	head := datagram(t, host4, server4, "")[:header4]
	for _, tt := range []struct {
		end  int
		want error
	}{{maxTotal - header4, nil}, {maxTotal - header4 + 1, ErrTooBig}} {
		var r Reassembler
		var err error
		ok := false
		const size = 1024
		for at := 0; at < tt.end; at += size {
			end := min(at+size, tt.end)
			p := mustParse(t, fragment(head, make([]byte, end-at), at, following(end < tt.end)))
			_, ok, err = r.Add(&p, began)
		}
		if ok != (tt.want == nil) || !errors.Is(err, tt.want) {
			t.Errorf("a payload of %d bytes = %v, %v, want %v", tt.end, ok, err, tt.want)
		}
		wantEmpty(t, &r, 0)
	}
}

func TestTooManyFragments(t *testing.T) {
	head := datagram(t, host4, server4, "")[:header4]
	var r Reassembler
	for i := range maxFragments {
		add(t, &r, fragment(head, make([]byte, 8), 16*i, more))
	}
	p := mustParse(t, fragment(head, make([]byte, 8), 16*maxFragments, more))
	if _, _, err := r.Add(&p, began); !errors.Is(err, ErrFragment) {
		t.Errorf("fragment %d = %v, want %v", maxFragments+1, err, ErrFragment)
	}
	wantEmpty(t, &r, maxFragments)
}

// TestPacketsDoNotMix: another source, target, protocol or id is another packet.
func TestPacketsDoNotMix(t *testing.T) {
	base := datagram(t, host4, server4, "")[:header4]
	others := [][]byte{base, patch(base, 5, 1), patch(base, 9, 99), patch(base, 15, 99), patch(base, 19, 99)}
	var r Reassembler
	for _, head := range others {
		add(t, &r, fragment(head, make([]byte, 8), 0, more))
	}
	if r.Pending() != len(others) {
		t.Errorf("%d packets pending, want %d", r.Pending(), len(others))
	}
}

func TestPatience(t *testing.T) {
	head := datagram(t, host4, server4, "")[:header4]
	var r Reassembler
	add(t, &r, fragment(head, make([]byte, 8), 0, more), fragment(head, make([]byte, 8), 8, more))
	r.Expire(began.Add(fragmentPatience - 1))
	if r.Pending() != 1 {
		t.Error("given up too early")
	}
	late := mustParse(t, fragment(head, make([]byte, 8), 16, last))
	if _, ok, err := r.Add(&late, began.Add(fragmentPatience)); ok || err != nil {
		t.Errorf("Add of the rest, too late = %v, %v, want nothing", ok, err)
	}
	r.Expire(began.Add(2 * fragmentPatience))
	wantEmpty(t, &r, 3)
}

func TestBoundedMemory(t *testing.T) {
	first := func(i, size int) []byte {
		head := datagram(t, netip.AddrPortFrom(host4.Addr(), 1), server4, "")[:header4]
		binary.BigEndian.PutUint16(head[4:], uint16(i))
		return fragment(head, make([]byte, size), 0, more)
	}
	var r Reassembler
	for i := range 10 * maxWholes {
		add(t, &r, first(i, 8))
	}
	if r.Pending() != maxWholes || r.held != 8*maxWholes || r.Lost() != 9*maxWholes {
		t.Errorf("%d packets, %d bytes, want %d, %d", r.Pending(), r.held, maxWholes, 8*maxWholes)
	}
	var big Reassembler
	for i := range maxWholes {
		add(t, &big, first(i, 60000))
	}
	if big.held > maxHeld || big.Pending() != maxHeld/60000 {
		t.Errorf("%d bytes of %d packets held, want at most %d", big.held, big.Pending(), maxHeld)
	}
}

func FuzzReassembler(f *testing.F) {
	f.Add(bytes.Join(fragments(datagram(f, host4, server4, strings.Repeat("x", 64)), 24), nil))
	f.Add(bytes.Join(fragments(datagram(f, host6, server6, strings.Repeat("x", 64)), 24), nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reassembler
		now := began
		for len(b) > 0 {
			p, err := Parse(b)
			if err != nil {
				return
			}
			b = b[len(p.Whole):]
			now = now.Add(time.Second)
			all, ok, err := r.Add(&p, now)
			if ok && (err != nil || all.IsFragment() || len(all.Payload) > len(all.Whole)) {
				t.Fatalf("whole = %+v, %v", all.Fragment, err)
			}
			checkReassembler(t, &r)
		}
	})
}

func checkReassembler(t *testing.T, r *Reassembler) {
	t.Helper()
	held := 0
	for _, w := range r.wholes {
		if !slices.IsSortedFunc(w.parts, func(a, b part) int { return a.offset - b.offset }) {
			t.Fatal("parts out of order")
		}
		sum := 0
		for _, p := range w.parts {
			sum += len(p.data)
		}
		if sum != w.held {
			t.Fatalf("held = %d, want %d", w.held, sum)
		}
		held += sum
	}
	if held != r.held || held > maxHeld || len(r.wholes) > maxWholes {
		t.Fatalf("%d packets hold %d bytes, booked %d", len(r.wholes), held, r.held)
	}
}
