package h1

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// minRetries is how often the kernel must have tried again: a single lost segment says nothing.
const minRetries = 3

// Unacknowledged implements transport.PathWatcher from the kernel's view of the connection (tcp(7),
// TCP_INFO). A host that is there acknowledges data, and answers window probes when its application reads
// nothing.
func (c *conn) Unacknowledged() time.Duration {
	tcp, ok := c.socket.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	var info *unix.TCPInfo
	controlErr := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if controlErr != nil || err != nil {
		return 0
	}
	return unacknowledged(info)
}

func unacknowledged(info *unix.TCPInfo) time.Duration {
	if info.Retransmits < minRetries && info.Probes < minRetries {
		return 0
	}
	return time.Duration(info.Last_ack_recv) * time.Millisecond
}
