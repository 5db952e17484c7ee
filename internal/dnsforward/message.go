package dnsforward

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/net/dns/dnsmessage"
)

// ErrMalformed says that a message is no DNS query.
var ErrMalformed = errors.New("malformed dns query")

const (
	headerSize = 12
	maxQuery   = 4096 // far more than any question needs
	minUDP     = 512  // what a client takes that says nothing else (RFC 1035, section 4.2.1)
	maxUDP     = 65000
	ednsSize   = 1232 // what we say that we take; nobody sends us more in a query
)

// Bits of the third byte of a header.
const (
	bitAnswer    = 0x80
	bitsOpcode   = 0x78
	bitTruncated = 0x02
)

// question is the question of a message, which stands between the header and end.
type question struct {
	nameEnd, end int
	kind         dnsmessage.Type
}

// parseQuery returns the question of a query, or false if the message has not exactly one or is no query.
func parseQuery(b []byte) (question, bool) {
	if len(b) < headerSize || len(b) > maxQuery || b[2]&bitAnswer != 0 {
		return question{}, false
	}
	return parseQuestion(b)
}

// parseQuestion returns the one question of a message.
func parseQuestion(b []byte) (question, bool) {
	if len(b) < headerSize || binary.BigEndian.Uint16(b[4:]) != 1 {
		return question{}, false
	}
	at := skipName(b, headerSize)
	// A name is at most 255 bytes long, and has nothing to be compressed with here.
	if at < 0 || at+4 > len(b) || at-headerSize > 255 || b[at-1] != 0 {
		return question{}, false
	}
	return question{
		nameEnd: at,
		end:     at + 4,
		kind:    dnsmessage.Type(binary.BigEndian.Uint16(b[at:])),
	}, true
}

// key is what the queries have in common that have the same answer: everything but the id and the case of
// letters. That includes flags and EDNS.
func (q question) key(query []byte) string {
	b := make([]byte, len(query)-2)
	copy(b, query[2:])
	name := b[headerSize-2 : q.nameEnd-2]
	for i, c := range name {
		name[i] = lowered(c)
	}
	return string(b)
}

// lowered changes ASCII letters. In a name, lengths of labels are smaller than any of them.
func lowered(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// answers reports whether a is an answer to the query.
func answers(a, query []byte) bool {
	q, ok := parseQuestion(query)
	if !ok || len(a) < q.end || a[2]&bitAnswer == 0 || (a[2]^query[2])&bitsOpcode != 0 {
		return false
	}
	if binary.BigEndian.Uint16(a[4:]) != 1 {
		return false
	}
	for i := headerSize; i < q.nameEnd; i++ {
		if lowered(a[i]) != lowered(query[i]) {
			return false
		}
	}
	return bytes.Equal(a[q.nameEnd:q.end], query[q.nameEnd:q.end])
}

// address makes an answer to an equal query one to this query: its id, its spelling of the name. It changes
// a.
func address(a, query []byte) {
	copy(a, query[:2])
	if q, ok := parseQuestion(query); ok && len(a) >= q.end {
		copy(a[headerSize:q.end], query[headerSize:q.end])
	}
}

func truncated(a []byte) bool { return a[2]&bitTruncated != 0 }

func rcode(a []byte) dnsmessage.RCode { return dnsmessage.RCode(a[3] & 0xf) }

// IsQuery reports whether b is a DNS query that a [Forwarder] takes.
func IsQuery(b []byte) bool {
	_, ok := parseQuery(b)
	return ok
}

// Failure returns the answer to a query that nobody could answer (SERVFAIL), or nil if it is no query.
func Failure(query []byte) []byte { return reply(query, dnsmessage.RCodeServerFailure, 0) }

// Fit returns the answer to a query in the form in which it goes over UDP: as it is, or, if it is longer than
// the client takes, empty and marked as truncated, so that the client asks again by TCP.
func Fit(query, answer []byte) []byte {
	limit := minUDP
	if size, ok := edns(query); ok {
		limit = min(max(limit, size), maxUDP)
	}
	if len(answer) <= limit {
		return answer
	}
	return reply(query, rcode(answer), bitTruncated)
}

// reply is an answer without records. bits are for the third byte of the header.
func reply(query []byte, code dnsmessage.RCode, bits byte) []byte {
	q, ok := parseQuery(query)
	if !ok {
		return nil
	}
	b := make([]byte, q.end, q.end+11)
	copy(b, query)
	const recursionDesired, recursionAvailable, checkingDisabled = 0x01, 0x80, 0x10
	b[2] = bitAnswer | b[2]&(bitsOpcode|recursionDesired) | bits
	b[3] = recursionAvailable | b[3]&checkingDisabled | byte(code)
	clear(b[6:headerSize]) // records
	if _, ok := edns(query); ok {
		b[11] = 1 // an additional record: the root's name, OPT, our size (RFC 6891, section 6.1.2)
		b = append(b, 0, 0, byte(dnsmessage.TypeOPT), ednsSize>>8, ednsSize&0xff, 0, 0, 0, 0, 0, 0)
	}
	return b
}

// edns returns how long an answer the client takes by UDP, if its query has EDNS.
func edns(query []byte) (size int, ok bool) {
	_ = walk(query, func(r record) {
		if r.kind == dnsmessage.TypeOPT {
			size, ok = int(r.class), true
		}
	})
	return size, ok
}
