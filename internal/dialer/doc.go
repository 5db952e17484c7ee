// Package dialer opens every socket that leaves this host: TCP streams, UDP sockets, and those of DNS
// lookups.
//
// That it is the only place is how the firewall mark is never forgotten. A mark that cannot be applied fails
// the dial with a [MarkError], because an unmarked socket would be routed back into the tunnel it carries.
//
// Names are looked up in both address families at once and the addresses are tried as Happy Eyeballs says
// (RFC 8305): IPv6 first, the next address after 250 ms or when one failed, the first that connects wins.
// Answers are remembered for a minute, and longer while no server answers; the address that worked last time
// is tried first.
package dialer
