package dialer

import "golang.org/x/sys/unix"

// setMark sets SO_MARK, which takes CAP_NET_ADMIN, or CAP_NET_RAW since Linux 5.17.
func setMark(fd uintptr, mark uint32) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
}
