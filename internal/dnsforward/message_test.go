package dnsforward

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestIsQuery(t *testing.T) {
	good := query(t, 1, "one.example.", typeA, 1232)
	set := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	longest := strings.Repeat(strings.Repeat("x", 62)+".", 3) + strings.Repeat("y", 61) + "."
	tooLong := append(good[:headerSize:headerSize], bytes.Repeat([]byte("\x03abc"), 64)...)
	tests := []struct {
		name string
		b    []byte
		want bool
	}{
		{"query", good, true},
		{"the root", query(t, 1, ".", typeA), true},
		{"longest name", query(t, 1, longest, typeA), true},
		{"nothing", nil, false},
		{"header alone", good[:headerSize], false},
		{"cut in the name", good[:headerSize+5], false},
		{"cut in the type", good[:headerSize+14], false},
		{"answer", set(2, 0x80), false},
		{"no question", set(4, 0, 0), false},
		{"two questions", set(4, 0, 2), false},
		{"pointer in the name", set(headerSize, 0xc0, 12), false},
		{"label of a reserved kind", set(headerSize, 0x41), false},
		{"too long", append(bytes.Clone(good), make([]byte, maxQuery)...), false},
		{"name too long", append(tooLong, 0, 0, 1, 0, 1), false},
	}
	for _, tt := range tests {
		if got := IsQuery(tt.b); got != tt.want {
			t.Errorf("%s: IsQuery = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestKey: what has another answer has another key.
func TestKey(t *testing.T) {
	key := func(b []byte) string {
		q, ok := parseQuery(b)
		if !ok {
			t.Fatalf("no query: %x", b)
		}
		return q.key(b)
	}
	base := query(t, 1, "one.example.", typeA)
	same := [][]byte{query(t, 2, "one.example.", typeA), query(t, 3, "ONE.eXample.", typeA)}
	for _, b := range same {
		if key(b) != key(base) {
			t.Errorf("key of %x differs from that of %x", b, base)
		}
	}
	checking := query(t, 1, "one.example.", typeA)
	checking[3] |= 0x10
	others := [][]byte{
		base, query(t, 1, "two.example.", typeA), query(t, 1, "one.example.", 65),
		query(t, 1, "one.example.", 97), // 65 is "A", and this is "a"
		query(t, 1, "one.example.", typeA, 1232), query(t, 1, "one.example.", typeA, 4096), checking,
	}
	for i, a := range others {
		for _, b := range others[:i] {
			if key(a) == key(b) {
				t.Errorf("%x and %x have one key", a, b)
			}
		}
	}
	if answers(answer(t, query(t, 1, "one.example.", 97), 60, 0), query(t, 1, "one.example.", 65)) {
		t.Error("an answer for type 97 is taken for one for type 65")
	}
}

func TestFailure(t *testing.T) {
	for _, q := range [][]byte{query(t, 9, "One.example.", typeA), query(t, 9, "One.example.", typeA, 4096)} {
		m, want := unpack(t, Failure(q)), unpack(t, q)
		if m.ID != 9 || !m.Response || m.RCode != dnsmessage.RCodeServerFailure || !m.RecursionDesired {
			t.Errorf("header of a failure = %+v", m.Header)
		}
		if m.Questions[0] != want.Questions[0] || len(m.Additionals) != len(want.Additionals) {
			t.Errorf("failure = %+v, want question and EDNS of %+v", m, want)
		}
	}
	if got := Failure([]byte("nonsense, but long enough")); got != nil {
		t.Errorf("failure of what is no query = %x", got)
	}
}

func TestFit(t *testing.T) {
	tests := []struct {
		name  string
		edns  []uint16
		count int // of addresses, 16 bytes each
		fits  bool
	}{
		{"small", nil, 1, true},
		{"more than 512 bytes", nil, 40, false},
		{"EDNS", []uint16{1232}, 40, true},
		{"more than EDNS allows", []uint16{1232}, 90, false},
		{"EDNS that says less than everybody takes", []uint16{100}, 20, true},
		{"EDNS that says less, and too long", []uint16{100}, 40, false},
	}
	for _, tt := range tests {
		q := query(t, 3, "one.example.", typeA, tt.edns...)
		a := answer(t, q, 60, tt.count)
		m := unpack(t, Fit(q, a))
		if fits := len(m.Answers) == tt.count && !m.Truncated; fits != tt.fits {
			t.Errorf("%s: %d answers, want it to fit: %v", tt.name, len(m.Answers), tt.fits)
		}
		empty := m.Truncated && len(m.Answers) == 0 && m.ID == 3 && len(m.Additionals) == len(tt.edns)
		if !tt.fits && !empty {
			t.Errorf("%s: %+v, want an empty truncated answer", tt.name, m)
		}
	}
}

func TestJudge(t *testing.T) {
	q := query(t, 1, "one.example.", typeA)
	name := dnsmessage.MustNewName("one.example.")
	alias := dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 10},
		Body:   &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("alias.example.")},
	}
	opt := unpack(t, query(t, 1, "one.example.", typeA, 1232)).Additionals
	tests := []struct {
		name   string
		change func(m *dnsmessage.Message)
		want   time.Duration // 0: not kept
	}{
		{"address", func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{address4(name, 60, 1)}
		}, time.Minute},
		{"the shortest counts", func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{alias, address4(name, 60, 1)}
		}, 10 * time.Second},
		{"zero", func(m *dnsmessage.Message) { m.Answers = []dnsmessage.Resource{address4(name, 0, 1)} }, 0},
		{"top bit", func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{address4(name, 1<<31, 1)}
		}, 0},
		{"EDNS has no TTL", func(m *dnsmessage.Message) {
			m.Answers, m.Additionals = []dnsmessage.Resource{address4(name, 60, 1)}, opt
		}, time.Minute},
		{"no such name", func(m *dnsmessage.Message) {
			m.RCode, m.Authorities = dnsmessage.RCodeNameError, []dnsmessage.Resource{soa(3600, 30)}
		}, 30 * time.Second},
		{"no such record", func(m *dnsmessage.Message) {
			m.Authorities = []dnsmessage.Resource{soa(20, 30)}
		}, 20 * time.Second},
		{"an alias of nothing", func(m *dnsmessage.Message) {
			m.Answers, m.Authorities = []dnsmessage.Resource{alias}, []dnsmessage.Resource{soa(3600, 30)}
		}, 10 * time.Second},
		{"no such name, nobody says for how long", func(m *dnsmessage.Message) {
			m.RCode = dnsmessage.RCodeNameError
		}, 0},
		{"a referral", func(m *dnsmessage.Message) { m.Answers = []dnsmessage.Resource{alias} }, 0},
		{"empty", func(*dnsmessage.Message) {}, 0},
		{"failure", func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure }, 0},
		{"truncated", func(m *dnsmessage.Message) {
			m.Truncated, m.Answers = true, []dnsmessage.Resource{address4(name, 60, 1)}
		}, 0},
	}
	for _, tt := range tests {
		m := response(t, q)
		tt.change(&m)
		f, ok := judge(pack(t, m))
		if ok != (tt.want > 0) || ok && f.ttl != tt.want {
			t.Errorf("%s: judge = %v, %v, want %v", tt.name, f.ttl, ok, tt.want)
		}
	}
	cut := answer(t, q, 60, 2)
	for n := range len(cut) {
		if _, ok := judge(cut[:n]); ok {
			t.Errorf("an answer cut after %d of %d bytes is kept", n, len(cut))
		}
	}
}
