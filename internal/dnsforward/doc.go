// Package dnsforward answers DNS queries by asking servers through dialers, and remembers the answers.
//
// A query goes to its server by UDP; by TCP (RFC 7766) when the answer is truncated, when there is none
// within two seconds, or when no UDP is to be had. Queries share one packet socket and one stream for each
// server. Equal queries that are under way at the same time are asked once. Answers are kept for as long as
// their records say (RFC 1035, RFC 2308), within a bound of memory.
//
// Messages pass unchanged, EDNS included, but for the id, which is a fresh random one on the way to the
// server. An answer is taken only from the server that was asked, with that id and the same question.
package dnsforward
