// Package shadowsocks is the client end of Shadowsocks AEAD (https://shadowsocks.org/doc/aead.html) over any
// stream and any packet connection.
//
// [StreamDialer] turns an endpoint that reaches the server into a dialer that reaches any target, and
// [PacketListener] does the same for datagrams. The protocol has no connect acknowledgement: a dial succeeds
// when the server is reached, and that the target cannot be is seen only later, as [ErrNoAnswer].
package shadowsocks
