// Package socks5 is the SOCKS5 door for local applications (RFC 1928, RFC 1929): CONNECT and UDP ASSOCIATE,
// with or without user names.
//
// It stands between the applications and a transport.StreamDialer and transport.PacketListener, and leaves
// the moving of bytes to package relay. The client's socket reaches the relay untouched: the handshake reads
// exactly its own bytes, so data that a client sends right behind its request goes to the target.
//
// One goroutine serves a connection until its request is known. BIND is not supported (reply 7).
//
// # Who may use an association
//
// A UDP association lives as long as its control connection. Its socket is bound to the address on which that
// connection came in, and takes datagrams from that connection's IP address alone. From this address it takes
// one port: the one that the request names, or else the port of the first valid datagram, for as long as the
// association lives. Answers go to that port. An application that changes its source port opens another
// association. On a host with several users, where the first datagram could be somebody else's, name the port
// in the request. Fragments (FRAG other than 0) are dropped, as RFC 1928 allows.
package socks5
