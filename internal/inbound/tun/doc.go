// Package tun is the TUN door for the whole machine: what the kernel routes into the device leaves through a
// transport.StreamDialer and a transport.PacketListener.
//
// One goroutine reads the device and never waits for anything but packets. TCP goes to a userspace TCP/IP
// stack (gVisor), whose super-segments pass unsplit both ways; everything else goes to a packetHandler,
// which answers through a packetWriter. A connection is dialled before it is accepted, so that an
// application learns of a refusal as if it were alone with the target; from then on package relay moves the
// bytes.
//
// The stack and the device exist on Linux, and not in builds with the tag unit: there, [Open] and
// [Server.Serve] return [ErrUnsupported]. Everything that only computes is built and tested everywhere.
package tun
