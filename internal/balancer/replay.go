package balancer

import (
	"bytes"
	"encoding/binary"
	"net"
)

// Replay says which first bytes of a client may be sent a second time, over another upstream, while no answer
// has come.
type Replay uint8

// The choices.
const (
	// ReplaySafe sends again what has no effect at a target before the answer, or may have it twice: a TLS
	// ClientHello, the HTTP methods GET, HEAD and OPTIONS (safe in the sense of RFC 9110, section 9.2.1), a
	// DNS query.
	ReplaySafe Replay = iota
	ReplayAny
	ReplayNever
)

// maxFlight is how much of what a client sends is kept for another upstream.
const maxFlight = 64 << 10

// class is what kind of conversation the first bytes begin.
type class uint8

const (
	classUnknown class = iota
	classNothing       // not a byte yet
	classTLS
	classHTTP
	classDNS
)

// classify looks at all that a client has sent to addr so far. Everything in it must be of the class: what
// comes behind a safe request may be one that is not.
func classify(sent []byte, addr string) class {
	switch {
	case len(sent) == 0:
		return classNothing
	case isTLSHandshake(sent):
		return classTLS
	case isSafeHTTP(sent):
		return classHTTP
	case isDNS(sent, addr):
		return classDNS
	}
	return classUnknown
}

// TLS record types (RFC 8446, section 5.1).
const (
	recordChangeCipherSpec = 20
	recordHandshake        = 22
	recordHeader           = 5
	maxRecord              = 1<<14 + 256
)

// isTLSHandshake reports whether sent is a ClientHello and nothing that a server acts upon. Early data is
// such a thing: it comes in records of its own type.
func isTLSHandshake(sent []byte) bool {
	const clientHello = 1
	if len(sent) <= recordHeader || sent[0] != recordHandshake || sent[recordHeader] != clientHello {
		return false
	}
	for len(sent) > 0 {
		if sent[0] != recordHandshake && sent[0] != recordChangeCipherSpec || len(sent) > 1 && sent[1] != 3 {
			return false
		}
		if len(sent) < recordHeader {
			return true
		}
		n := int(binary.BigEndian.Uint16(sent[3:]))
		if n > maxRecord {
			return false
		}
		sent = sent[min(recordHeader+n, len(sent)):]
	}
	return true
}

// isSafeHTTP reports whether sent is one or more requests of HTTP/1 with a safe method and without content.
// The last one may be cut short. Lines must end in CRLF: there are servers for which a lone LF ends one too
// (RFC 9112, section 2.2), or a lone CR, and which see more requests there than others do.
func isSafeHTTP(sent []byte) bool {
	for len(sent) > 0 {
		head, rest, whole := bytes.Cut(sent, []byte("\r\n\r\n"))
		if !hasSafeMethod(head) || hasContent(head) || hasOddLines(head) {
			return false
		}
		if !whole {
			return true
		}
		sent = rest
	}
	return true
}

func hasSafeMethod(head []byte) bool {
	method, rest, ok := bytes.Cut(head, []byte(" "))
	switch string(method) {
	case "GET", "HEAD", "OPTIONS":
		return ok && len(rest) > 0
	}
	return false
}

// hasOddLines reports whether there is a CR or an LF without the other, but for a CR at the end, whose LF may
// be to come.
func hasOddLines(head []byte) bool {
	for line := range bytes.SplitSeq(bytes.TrimSuffix(head, []byte("\r")), []byte("\r\n")) {
		if bytes.ContainsAny(line, "\r\n") {
			return true
		}
	}
	return false
}

// hasContent reports whether a request announces that something follows its head, or that another protocol
// does.
func hasContent(head []byte) bool {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(bytes.ToLower(bytes.TrimSpace(name))) {
		case "content-length", "transfer-encoding", "upgrade", "expect":
			return true
		}
	}
	return false
}

// isDNS reports whether sent is one or more queries of DNS over TCP (RFC 1035, section 4.2.2). The last one
// may be cut short.
func isDNS(sent []byte, addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port != "53" {
		return false
	}
	const (
		lengthLen = 2
		headLen   = 12
		notQuery  = 0xf8 // QR and Opcode
	)
	for len(sent) > 0 {
		if len(sent) < lengthLen+headLen {
			return false // an update would look the same
		}
		n := int(binary.BigEndian.Uint16(sent))
		if n < headLen || sent[lengthLen+2]&notQuery != 0 {
			return false
		}
		sent = sent[min(lengthLen+n, len(sent)):]
	}
	return true
}
