// Package capture leads the traffic of this host to a TUN device with rules, routes and a table of nftables,
// and takes all of it back.
//
// It stands beside the inbound that reads the device: that one knows packets, this one knows the host.
// Everything is told to the kernel over netlink; no program is run and no sysctl is written.
//
// # How traffic is chosen
//
// What a socket sends before it has a source address is captured; what already has one is not. Answers of
// this host's own services and the kernel's reverse path checks have one, so that a login from outside goes
// on while the tunnel comes up, even where rp_filter is strict. See docs/decisions/0008-capture.md for the
// rules themselves.
//
// # Nothing stays
//
// Every rule, route and address carries the protocol number 79, by which a later process finds what a killed
// one left. The guard, a table of nftables, belongs to the socket that made it, and the kernel deletes it
// with the process; so it deletes a device that is not persistent, and with it the routes. What is left then
// leads nowhere, and traffic goes its ordinary way - unless Options.KillSwitch, which is there to stop just
// that.
package capture
