//go:build !unit

package tun

import (
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// copyLimit is the size up to which a packet is copied out of the read buffer. Above it the stack gets the
// buffer itself, which the packet fills by half at least.
const copyLimit = maxPacket / 2

// offload says what the kernel on the other side of the device does.
type offload uint8

const (
	offloadNone offload = iota // packets are no larger than the MTU, and their checksums are complete
	offloadTCP                 // TCP super-segments pass in both directions, without checksums
)

// endpoint joins a port to the stack. It carries TCP alone: the rest never reaches the stack, and what else
// the stack would like to say, such as its IPv6 neighbour discovery, has no one to listen.
//
// It announces no checksum offload for what it sends: segments with a GSO option leave theirs to the kernel
// in any case, and those without one (SYN, RST, a bare ACK) would leave without a checksum.
type endpoint struct {
	port     *port
	offload  offload
	mtu      uint32
	counters *Counters

	dispatcher atomic.Pointer[stack.NetworkDispatcher]
	spare      *buffer.View // the read goroutine's
}

var (
	_ stack.LinkEndpoint = (*endpoint)(nil)
	_ stack.GSOEndpoint  = (*endpoint)(nil)
	_ packetWriter       = (*endpoint)(nil)
)

// receive reads one packet. TCP goes to the stack and the rest to other.
func (e *endpoint) receive(other packetHandler) error {
	if e.spare == nil {
		e.spare = buffer.NewViewSize(buffer.MaxChunkSize) // which a packet never exceeds
	}
	virtio, n, err := e.port.read(e.spare.AsSlice())
	if err != nil {
		return err
	}
	packet := e.spare.AsSlice()[:n]
	e.counters.moved(directionOut, n)
	switch kind := classify(packet); {
	case kind == otherPacket:
		other.handle(packet)
	case kind == malformed, e.offload == offloadTCP && !virtio.trusted() && !validTCP(kind, packet):
		e.counters.dropped(dropMalformed)
	case kind == tcpv4:
		e.deliver(header.IPv4ProtocolNumber, n)
	case kind == tcpv6:
		e.deliver(header.IPv6ProtocolNumber, n)
	}
	return nil
}

// deliver hands the first n bytes of spare to the stack.
func (e *endpoint) deliver(protocol tcpip.NetworkProtocolNumber, n int) {
	to := e.dispatcher.Load()
	if to == nil {
		return
	}
	view := e.spare
	if n > copyLimit {
		view.CapLength(n)
		e.spare = nil
	} else {
		view = buffer.NewViewWithData(view.AsSlice()[:n])
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(view)})
	(*to).DeliverNetworkPacket(protocol, pkt)
	pkt.DecRef()
}

// validTCP verifies the checksum of a segment that came from outside this host. The stack verifies none,
// since it cannot tell those of this host, which have none. A fragment passes: its checksum covers the
// whole.
func validTCP(kind class, packet []byte) bool {
	if kind == tcpv4 {
		ip := header.IPv4(packet)
		if !ip.IsValid(len(packet)) || ip.More() || ip.FragmentOffset() > 0 {
			return ip.IsValid(len(packet))
		}
		return validSegment(ip.SourceAddress(), ip.DestinationAddress(), ip.Payload())
	}
	ip := header.IPv6(packet)
	if ip.NextHeader() != protocolTCP {
		return true // extension headers
	}
	return validSegment(ip.SourceAddress(), ip.DestinationAddress(), ip.Payload())
}

func validSegment(from, to tcpip.Address, b []byte) bool {
	segment := header.TCP(b)
	if len(b) < header.TCPMinimumSize || int(segment.DataOffset()) > len(b) {
		return false
	}
	payload := segment.Payload()
	return segment.IsChecksumValid(from, to, checksum.Checksum(payload, 0), uint16(len(payload)))
}

// WritePackets implements stack.LinkWriter. A packet that the device does not take is lost like any other.
func (e *endpoint) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range list.AsSlice() {
		if pkt.TransportProtocolNumber == header.TCPProtocolNumber {
			e.write(pkt)
		}
	}
	return list.Len(), nil
}

func (e *endpoint) write(pkt *stack.PacketBuffer) {
	f := e.port.frame(gsoHeader(pkt))
	views, skip := pkt.AsViewList()
	size := 0
	for v := views.Front(); v != nil; v = v.Next() {
		b := v.AsSlice()
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		f.parts = append(f.parts, b[skip:])
		size += len(b) - skip
		skip = 0
	}
	if err := e.port.send(f); err != nil {
		e.counters.failed(opWrite)
		return
	}
	e.counters.moved(directionIn, size)
}

// writePacket implements packetWriter. The caller counts.
func (e *endpoint) writePacket(packet []byte) error {
	f := e.port.frame(virtioHeader{})
	f.parts = append(f.parts, packet)
	return e.port.send(f)
}

// gsoHeader says what the stack left to the kernel.
func gsoHeader(pkt *stack.PacketBuffer) virtioHeader {
	gso := &pkt.GSOOptions
	if gso.Type == stack.GSONone || !gso.NeedsCsum {
		return virtioHeader{}
	}
	ip := uint16(len(pkt.NetworkHeader().Slice()))
	h := virtioHeader{flags: virtioNeedsChecksum, checksumStart: ip, checksumOffset: gso.CsumOffset}
	if pkt.Data().Size() <= int(gso.MSS) {
		return h
	}
	h.kind = virtioTCPv4
	if gso.Type == stack.GSOTCPv6 {
		h.kind = virtioTCPv6
	}
	h.headerLen = ip + uint16(len(pkt.TransportHeader().Slice()))
	h.segmentSize = gso.MSS
	return h
}

// GSOMaxSize implements stack.GSOEndpoint. TCP leaves room for its headers in it.
func (e *endpoint) GSOMaxSize() uint32 { return maxPacket }

// SupportedGSO implements stack.GSOEndpoint.
func (e *endpoint) SupportedGSO() stack.SupportedGSO {
	if e.offload == offloadTCP {
		return stack.HostGSOSupported
	}
	return stack.GSONotSupported
}

// Capabilities implements stack.LinkEndpoint.
func (e *endpoint) Capabilities() stack.LinkEndpointCapabilities {
	if e.offload == offloadTCP {
		return stack.CapabilityRXChecksumOffload
	}
	return stack.CapabilityNone
}

// Attach implements stack.LinkEndpoint.
func (e *endpoint) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		e.dispatcher.Store(nil)
		return
	}
	e.dispatcher.Store(&d)
}

// IsAttached implements stack.LinkEndpoint.
func (e *endpoint) IsAttached() bool { return e.dispatcher.Load() != nil }

// MTU implements stack.LinkEndpoint.
func (e *endpoint) MTU() uint32 { return e.mtu }

// The rest of stack.LinkEndpoint has no meaning for a device of IP packets that others own.

func (*endpoint) SetMTU(uint32)                           {}
func (*endpoint) MaxHeaderLength() uint16                 { return 0 }
func (*endpoint) LinkAddress() tcpip.LinkAddress          { return "" }
func (*endpoint) SetLinkAddress(tcpip.LinkAddress)        {}
func (*endpoint) Wait()                                   {}
func (*endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (*endpoint) AddHeader(*stack.PacketBuffer)           {}
func (*endpoint) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (*endpoint) Close()                                  {}
func (*endpoint) SetOnCloseAction(func())                 {}
