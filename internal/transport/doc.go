// Package transport is the vocabulary of the program: the few interfaces through which its parts open
// connections for each other.
//
// Everything that opens a connection is a dialer, and everything that wraps one is a dialer too. An inbound
// holds a [StreamDialer] and a [PacketListener] and knows nothing of what is behind them; a balancer is a
// dialer that picks; an upstream is a dialer that encrypts. Names and meanings follow Outline's SDK. The
// package imports the standard library alone.
package transport
