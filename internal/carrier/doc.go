// Package carrier opens the streams that carry a WebSocket: a TLS or TCP connection after its handshake, over
// one of several versions of HTTP.
//
// A [Target] is a server's URL with the versions it may be reached by, an [Endpoint] reaches it by the first
// that works. The versions themselves live in packages of their own that do not know each other.
package carrier
