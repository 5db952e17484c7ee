//go:build linux && !unit

package tun

import (
	"encoding/binary"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Whatever is read from the device, with whatever header in front, the stack lives.
func FuzzReceive(f *testing.F) {
	syn := func(ip []byte, at int) []byte {
		copy(ip[at:], []byte{0x9c, 0x40, 1, 187, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff})
		return ip
	}
	v4 := syn(ipv4Packet(protocolTCP, 20), ipv4Min)
	copy(v4[12:], []byte{172, 19, 0, 1, 203, 0, 113, 7})
	v6 := syn(ipv6Packet(protocolTCP, make([]byte, 20)...), ipv6Len)
	v6[8], v6[24] = 0x20, 0x20
	fragment := append([]byte(nil), v4...)
	binary.BigEndian.PutUint16(fragment[6:], 0x2000)
	for _, packet := range [][]byte{v4, v6, fragment, ipv6Packet(44, 6, 0, 0, 1, 0, 0, 0, 1)} {
		f.Add(uint8(virtioNeedsChecksum), packet)
		f.Add(uint8(0), packet)
	}
	d, p := wired(f, offloadTCP)
	counters := new(Counters)
	link := &endpoint{port: d.port, offload: offloadTCP, mtu: defaultMTU, counters: counters}
	netstack, err := newStack(link)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(netstack.Destroy)
	forwarder := tcp.NewForwarder(netstack, defaultBuffer, 16, func(r *tcp.ForwarderRequest) {
		handshake{r}.refuse()
	})
	netstack.SetTransportProtocolHandler(tcp.ProtocolNumber, forwarder.HandlePacket)
	f.Fuzz(func(t *testing.T, flags uint8, packet []byte) {
		if len(packet) > maxPacket {
			return
		}
		frame := p.link.port.frame(virtioHeader{flags: flags})
		frame.parts = append(frame.parts, packet)
		if err := p.link.port.send(frame); err != nil {
			t.Skip(err)
		}
		if err := link.receive(dropAll{counters}); err != nil {
			t.Error(err)
		}
	})
}
