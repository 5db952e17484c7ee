//go:build unix

package relay

import (
	"net"

	"golang.org/x/sys/unix"
)

// socketGone asks the kernel, if c is a TCP socket of it.
func socketGone(c net.Conn) bool {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	var is bool
	_ = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}} // hang-ups and errors are reported without being asked for
		n, err := unix.Poll(fds, 0)
		is = err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	})
	return is
}
