// Package relay moves the bytes of one flow between a client and its target, both ways.
//
// It sits between an inbound, which accepted the client, and a dialer, which reached the target. [Streams]
// carries a byte stream with both half-closes, and [Packets] carries the datagrams of one association.
// Neither lies to the application: what ended cleanly ends in EOF, what broke ends in a reset.
//
// Each direction has one buffer, taken from a pool only once there are bytes to put in it and laid out so
// that the layers below write their headers in front of the payload (transport.HeadroomWriter): an idle
// flow holds no buffer, and nothing is copied between the client's socket and the TLS record.
package relay
