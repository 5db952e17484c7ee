package h3

import (
	"encoding/binary"
	"net"

	"golang.org/x/sys/unix"
)

// maxReports bounds one look at the error queue; what is left is seen at the next error.
const maxReports = 1000

// wantReports has the kernel report ICMP errors, which it keeps from unconnected sockets otherwise (ip(7),
// IP_RECVERR): in an error queue, and as the result of whatever is done with the socket next. A kernel that
// does not costs only time, so there is no error.
func wantReports(c *net.UDPConn) {
	control(c, func(fd int) {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)     // each fails for
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1) // the other family
	})
}

// takeReports empties the error queue, whose length counts against the receive buffer, and reports whether
// there was anything in it. What a refusal quotes of our packet goes to refused, which does not keep it.
func takeReports(c *net.UDPConn, refused func(quote []byte)) (some bool) {
	control(c, func(fd int) {
		var quote [quoteSize]byte
		var oob [256]byte
		for range maxReports {
			n, oobn, _, _, err := unix.Recvmsg(fd, quote[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			some = true
			if isRefusal(oob[:oobn]) {
				refused(quote[:n])
			}
		}
	})
	return some
}

// isRefusal reports whether the control messages of a report hold a sock_extended_err that says "port
// unreachable" and came by ICMP: the kernel's own errors are in the queue too.
func isRefusal(oob []byte) bool {
	const errSize = 16
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if (v4 || v6) && len(m.Data) >= errSize {
			errno, origin := unix.Errno(binary.NativeEndian.Uint32(m.Data)), m.Data[4]
			return errno == unix.ECONNREFUSED &&
				(origin == unix.SO_EE_ORIGIN_ICMP || origin == unix.SO_EE_ORIGIN_ICMP6)
		}
	}
	return false
}

func control(c *net.UDPConn, f func(fd int)) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
