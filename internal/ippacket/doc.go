// Package ippacket parses and builds IP packets: IPv4 (RFC 791) and IPv6 (RFC 8200) with UDP (RFC 768) and
// ICMP (RFC 792, RFC 4443).
//
// It is pure: no sockets, no clock, no goroutines. Parsers take packets from anybody, check every length and
// return slices of what they were given; builders append to the caller's buffer. Neither allocates. Only
// [Reassembler] keeps something, within bounds.
package ippacket
