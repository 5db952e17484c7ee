package h3

import (
	"net"
	"syscall"
)

const (
	// wantedBuffer is what quic-go asks for, as the kernel reports it: twice what was set.
	wantedBuffer = 7 << 20
	// bufferCommand lifts the limits far enough.
	bufferCommand = "sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000"
)

// smallBuffers returns the command that lets a socket have larger buffers, or nothing when it has them.
func smallBuffers(c *net.UDPConn) string {
	raw, err := c.SyscallConn()
	if err != nil {
		return ""
	}
	small := false
	err = raw.Control(func(fd uintptr) {
		for _, buffer := range []int{syscall.SO_RCVBUF, syscall.SO_SNDBUF} {
			size, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, buffer)
			small = small || err == nil && size < wantedBuffer
		}
	})
	if err != nil || !small {
		return ""
	}
	return bufferCommand
}
