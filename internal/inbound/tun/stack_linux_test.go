//go:build !unit

package tun

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Loss detection by time repeated one segment in a hundred on a device that had lost none, and cost a third
// of the throughput of eight downloads.
func TestStackDoesNotTakeDelaysForLosses(t *testing.T) {
	_, p := wired(t, offloadTCP)
	var recovery tcpip.TCPRecovery
	if failure := p.stack.TransportProtocolOption(tcp.ProtocolNumber, &recovery); failure != nil {
		t.Fatal(failure)
	}
	if recovery != 0 {
		t.Errorf("loss detection = %d, want none by time", recovery)
	}
}

// The stack has nothing to say of its own: no neighbours, no routers, no groups.
func TestStackIsSilent(t *testing.T) {
	_, p := wired(t, offloadTCP)
	if got := p.stack.Stats().IP.PacketsSent.Value(); got != 0 {
		t.Errorf("packets sent by a new stack = %d, want 0", got)
	}
}
