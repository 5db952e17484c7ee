package dnsforward

import (
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var errRecords = errors.New("malformed dns records")

// section is where a record stands.
type section uint8

const (
	sectionAnswer section = iota
	sectionAuthority
	sectionAdditional
)

// record is a resource record, as far as a cache looks at it.
type record struct {
	section section
	kind    dnsmessage.Type
	class   uint16
	ttl     uint32
	ttlAt   int    // where it stands
	data    []byte // may point into the rest of the message
}

// walk calls visit with the records of a message that has one question.
func walk(b []byte, visit func(record)) error {
	q, ok := parseQuestion(b)
	if !ok {
		return errRecords
	}
	at := q.end
	for s := sectionAnswer; s <= sectionAdditional; s++ {
		for range binary.BigEndian.Uint16(b[6+2*int(s):]) {
			r, end := cutRecord(b, at)
			if end < 0 {
				return errRecords
			}
			r.section, at = s, end
			visit(r)
		}
	}
	return nil
}

// cutRecord returns the record at that place, and the place behind it or -1.
func cutRecord(b []byte, at int) (record, int) {
	const fixed = 10 // type, class, TTL, length
	at = skipName(b, at)
	if at < 0 || at+fixed > len(b) {
		return record{}, -1
	}
	end := at + fixed + int(binary.BigEndian.Uint16(b[at+8:]))
	if end > len(b) {
		return record{}, -1
	}
	return record{
		kind:  dnsmessage.Type(binary.BigEndian.Uint16(b[at:])),
		class: binary.BigEndian.Uint16(b[at+2:]),
		ttl:   binary.BigEndian.Uint32(b[at+4:]),
		ttlAt: at + 4,
		data:  b[at+fixed : end],
	}, end
}

// skipName returns the place behind the name at that place, or -1. It follows no pointers.
func skipName(b []byte, at int) int {
	for at < len(b) {
		switch size := int(b[at]); {
		case size == 0:
			return at + 1
		case size >= 0xc0:
			if at+2 > len(b) {
				return -1
			}
			return at + 2
		case size > 63:
			return -1
		default:
			at += 1 + size
		}
	}
	return -1
}

// freshness is for how long an answer may be given again.
type freshness struct {
	ttl      time.Duration
	negative bool
	ttlsAt   []int // where the TTLs stand
}

// judge finds out for how long an answer is good; ok is false if it must not be kept. An answer without the
// records that were asked for is kept only with the zone's SOA record, which says for how long (RFC 2308,
// section 5). Failures are not kept: they are ours more often than the zone's.
func judge(answer []byte) (f freshness, ok bool) {
	q, ok := parseQuestion(answer)
	if !ok || !conclusive(answer) {
		return f, false
	}
	least, found, soa := uint32(maxRecordTTL), false, false
	err := walk(answer, func(r record) {
		if r.kind == dnsmessage.TypeOPT { // its TTL is none
			return
		}
		f.ttlsAt = append(f.ttlsAt, r.ttlAt)
		least = min(least, r.effectiveTTL())
		found = found || r.answers(q.kind)
		soa = soa || r.startsAuthority()
	})
	f.negative = !found || rcode(answer) == dnsmessage.RCodeNameError
	f.ttl = time.Duration(least) * time.Second
	return f, err == nil && least > 0 && (soa || !f.negative)
}

// conclusive reports whether an answer says all that there is to say.
func conclusive(answer []byte) bool {
	code := rcode(answer)
	return !truncated(answer) && (code == dnsmessage.RCodeSuccess || code == dnsmessage.RCodeNameError)
}

// maxRecordTTL is the largest TTL there is. Greater ones mean zero (RFC 2181, section 8).
const maxRecordTTL = 1<<31 - 1

// answers reports whether the record is what was asked for.
func (r record) answers(kind dnsmessage.Type) bool {
	return r.section == sectionAnswer && (r.kind == kind || kind == dnsmessage.TypeALL)
}

// startsAuthority reports whether the record is the SOA record of a negative answer.
func (r record) startsAuthority() bool {
	return r.section == sectionAuthority && r.kind == dnsmessage.TypeSOA
}

// effectiveTTL is for how long the record lets an answer be kept.
func (r record) effectiveTTL() uint32 {
	ttl := r.ttl
	if ttl > maxRecordTTL {
		ttl = 0
	}
	if r.startsAuthority() && len(r.data) >= 4 {
		ttl = min(ttl, binary.BigEndian.Uint32(r.data[len(r.data)-4:])) // MINIMUM is its last field
	}
	return ttl
}
