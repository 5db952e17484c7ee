package tun

// packetHandler takes what is not TCP.
type packetHandler interface {
	// handle is called by the goroutine that reads the device and must return at once. packet is one whole IP
	// packet, valid until handle returns. The checksum of UDP in it may be missing: the kernel leaves it to
	// hardware that a TUN device does not have.
	handle(packet []byte)
}

// packetWriter writes to the device.
type packetWriter interface {
	// writePacket sends one whole IP packet, with complete checksums, to the host's stack. It neither keeps
	// nor changes packet and may be called concurrently. The caller counts.
	writePacket(packet []byte) error
}
