package dnsforward

import (
	"bytes"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// FuzzMessage gives the same bytes to everything that reads messages.
func FuzzMessage(f *testing.F) {
	q := query(f, 1, "one.example.", typeA, 1232)
	f.Add(q, answer(f, q, 60, 2))
	m := response(f, q)
	m.Authorities = append(m.Authorities, soa(60, 60))
	f.Add(q, pack(f, m))
	f.Add(q, Failure(q))
	f.Fuzz(func(t *testing.T, q, a []byte) {
		checkReplies(t, q)
		if answers(a, q) {
			checkAnswer(t, q, a)
		}
	})
}

// checkReplies holds our parser against another one, which is stricter about what follows the question.
func checkReplies(t *testing.T, q []byte) {
	t.Helper()
	failure := Failure(q)
	if (failure != nil) != IsQuery(q) {
		t.Fatalf("Failure(%x) = %x", q, failure)
	}
	var p dnsmessage.Parser
	if _, err := p.Start(q); err != nil || failure == nil {
		return
	}
	question, err := p.Question()
	if err != nil {
		return
	}
	m := unpack(t, failure)
	if len(m.Questions) != 1 || m.Questions[0] != question || m.RCode != dnsmessage.RCodeServerFailure {
		t.Fatalf("Failure(%x) = %+v", q, m)
	}
}

func checkAnswer(t *testing.T, q, a []byte) {
	t.Helper()
	kept := bytes.Clone(a)
	address(kept, q)
	if !answers(kept, q) || !bytes.Equal(kept[:2], q[:2]) {
		t.Fatalf("address(%x, %x) = %x", a, q, kept)
	}
	if IsQuery(q) {
		if fit := Fit(q, kept); len(fit) > len(kept) && len(fit) > minUDP {
			t.Fatalf("Fit makes %d bytes of %d", len(fit), len(kept))
		}
	}
	c := newCache(1 << 20)
	c.store("key", a, began)
	if again, ok := c.lookup("key", began); ok && !bytes.Equal(again, a) {
		t.Fatalf("lookup = %x, want %x", again, a)
	}
}
