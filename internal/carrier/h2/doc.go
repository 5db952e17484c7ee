// Package h2 carries WebSockets as streams of HTTP/2 connections that many flows share (RFC 9113, RFC 8441).
//
// A [Conn] is one connection: its own framing, flow control both ways and keep-alive. One goroutine reads it
// and never waits for an application: what arrives goes into the stream's buffer, which the stream's window
// bounds. Writers queue for the connection frame by frame, so that a bulk upload does not hold up a small
// flow. What the connection itself has to say (window updates, acknowledgements) goes out behind the next
// frame, or from a goroutine of its own when nobody writes.
package h2
