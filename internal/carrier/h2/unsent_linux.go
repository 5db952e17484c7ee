package h2

import (
	"net"

	"golang.org/x/sys/unix"
)

// maxUnsent is how much the kernel takes of what the path cannot carry yet. Without a bound it is megabytes,
// and a small flow waits behind those of a bulk upload; with it, writers wait in line instead.
const maxUnsent = 256 << 10

// limitUnsent sets TCP_NOTSENT_LOWAT. It only makes things better, so a kernel without it is no error.
func limitUnsent(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}
