// Package outlinetest is an Outline-compatible server on loopback, for tests, the demo and fault injection.
//
// [Start] opens a server that speaks Shadowsocks AEAD over WebSocket (RFC 6455) over TLS with a certificate
// authority of its own. It is written apart from the client: it imports none of our packages and does its
// own Shadowsocks, so that one mistake is not made twice. The WebSocket library is the one that Outline's
// server uses, and what a client can notice follows that server:
//
//   - Only binary messages carry data. A text message ends the connection; an empty message is EOF.
//   - A stream's answer is one message per Shadowsocks chunk of at most 0x3FFF bytes; the salt comes with
//     the first.
//   - A Close frame ends one direction. After the client's, the target sees the end of its input and its
//     answer goes on; after the server's, the client's data goes on. TCP is closed once both directions have
//     ended.
//   - A wrong secret or a replayed salt is drained silently until [Config.DrainTimeout] after the opening.
//   - A target that refuses closes the WebSocket at once, without any Shadowsocks bytes.
//   - A packet message is one Shadowsocks packet, taken by one read from a 4096-byte buffer: what one read
//     does not get is lost. The first packet that does not open ends the association, later ones are
//     dropped.
//   - An association ends with a Close frame after [Config.AssociationTimeout] without a packet from the
//     client; after 17 s if it went to port 53; at once when the only query to a port 53 has been answered.
//   - The server never pings.
//
// Outline's server speaks HTTP/1.1 alone, and so does this one unless [Config.Protocols] says more: HTTP/2
// (RFC 8441) on the same TCP port, HTTP/3 (RFC 9220) on the UDP port of the same number. There the WebSocket
// of every stream is what it is over HTTP/1.1, with the same faults and stats, and the server is patient
// where fronts are not: END_STREAM or a FIN from the client is no end of the answer. Its own half ends with
// END_STREAM, and with RST_STREAM(NO_ERROR) after it if the client's is open, as Go's server does it. One
// thing differs: in HTTP/3 a packet message is read whole, because a QUIC packet cannot hold a large one and
// the rest would be lost by chance. What clients do against HTTP/2 is in [MuxStats].
//
// Unlike Outline's server, it reaches loopback targets alone unless [Config] says otherwise, so that no test
// leaves the host.
//
// [Server.SetFault] makes it misbehave, now and for every connection. [Server.Stats] tells what it has seen,
// and [Server.Wait] waits until it has. The targets of targets.go are what flows talk to: an echo, a web
// page, a name server.
package outlinetest
