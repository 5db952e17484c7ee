//go:build unix

package socks5

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

var _ transport.WaitReader = (*association)(nil)

// waiter waits for a datagram without a buffer.
type waiter struct {
	raw   syscall.RawConn
	ready func(fd uintptr) bool // made once, so that waiting allocates nothing
}

func newWaiter(socket *net.UDPConn) (waiter, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return waiter{}, err
	}
	return waiter{raw: raw, ready: readable}, nil
}

// WaitRead implements transport.WaitReader. The datagram may turn out to be one that ReadFrom drops.
func (w waiter) WaitRead() error { return w.raw.Read(w.ready) }

// readable asks the kernel, because the runtime's poller only knows that something arrived since the last
// wait. An error counts as readable: the read reports it.
func readable(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	return n > 0 || err != nil
}
