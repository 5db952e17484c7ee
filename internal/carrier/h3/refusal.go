package h3

import (
	"encoding/binary"
	"sync/atomic"
)

// refusals are what the server's host says by ICMP of the packets of one socket: nothing listens at their
// port. A refusal may be forged or stray, so it counts only when it quotes our packet, and once the server
// has answered it is a hint and no more. Methods may be called concurrently.
type refusals struct {
	mark  atomic.Uint64 // of the last packet
	heard atomic.Bool   // something has come from the server

	unheard func()        // is called for a refusal before that
	came    chan struct{} // has room for one and takes it for refusals after that
}

// sent takes what is sent: a packet, or several of one connection.
func (r *refusals) sent(packets []byte) {
	if m, ok := markOf(packets); ok {
		r.mark.Store(m)
	}
}

// take takes what a refusal quotes.
func (r *refusals) take(quote []byte) {
	m, ok := markOf(quote)
	if !ok || m != r.mark.Load() {
		return
	}
	if !r.heard.Load() {
		r.unheard()
		return
	}
	select {
	case r.came <- struct{}{}:
	default:
	}
}

const (
	// quoteSize is how much of a packet there must be for a mark.
	quoteSize = 14
	shortSize = 5
)

// markOf returns the part at the begin of a packet that stays for a while and that nobody can guess who does
// not see our packets: the connection ID. An ICMP message with another one is forged, or was meant for a
// socket that had our port before (RFC 9000, section 14.2.1).
//
// In a long header it comes behind version and length, and what we make up for the server is of 8 bytes at
// least (RFC 9000, section 7.2). In a short one it comes second. Few servers choose less than 4 bytes; a
// refusal of what goes to them finds no match.
func markOf(packet []byte) (mark uint64, ok bool) {
	const longHeader = 0x80
	switch {
	case len(packet) < shortSize:
		return 0, false
	case packet[0]&longHeader == 0:
		return uint64(binary.BigEndian.Uint32(packet[1:])), true
	case len(packet) < quoteSize:
		return 0, false
	}
	return binary.BigEndian.Uint64(packet[6:]), true
}
