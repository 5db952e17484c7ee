// Package h3 carries WebSockets as streams of HTTP/3 connections that many flows share (RFC 9114, RFC 9220).
//
// QUIC and HTTP/3 themselves are quic-go's; nothing outside this package knows it. A [Conn] is one connection
// on a UDP socket of its own, which the caller's [Net] opens. A [Stream] is one WebSocket's bytes: io.EOF
// from Read means the server's FIN and nothing else, so that a lost connection never looks like an end.
//
// A connection is resumed with the TLS session and the address token of one before it, and with 0-RTT where
// the server allows that. What 0-RTT saves is the wait for the server's SETTINGS, which it promises not to
// take back (RFC 9114, section 7.2.4.2). No request travels as early data: CONNECT is not a safe method, and
// whoever records the packets could open the tunnel again (RFC 8470, section 4).
package h3
