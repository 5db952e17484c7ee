// Package h1 carries a WebSocket on a connection of its own: TLS, or plain TCP for ws URLs, then an HTTP/1.1
// Upgrade (RFC 6455, section 4).
package h1
