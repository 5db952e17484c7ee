// Package websocket is the client end of a WebSocket (RFC 6455) over a stream that a carrier opened, be it an
// upgraded HTTP/1.1 connection or an extended CONNECT stream of HTTP/2 or HTTP/3.
//
// A [Stream] carries bytes, and message boundaries mean nothing. A [Packets] carries one datagram a message.
// Both send and accept binary messages only, as Outline servers do.
//
// Unlike in RFC 6455, section 5.5.1, a Close frame ends one direction only, which is how Outline's clients
// and servers express a half-close: after our Close we go on reading, and a Close from the peer is not
// answered before our own direction is finished. Only Close frames with 1000, 1001 or without a code are an
// end; everything else, the end of the carrier without a Close frame included, is an error.
package websocket
