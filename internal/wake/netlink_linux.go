package wake

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// groups are the multicast groups of rtnetlink(7) that we listen to.
const groups = unix.RTMGRP_LINK |
	unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR |
	unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE |
	1<<(unix.RTNLGRP_IPV4_RULE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1)

// netlink is the kernel's news. What the messages say is of no interest, so they are cut to scrap.
type netlink struct {
	file *os.File
	raw  syscall.RawConn
}

// scrap is the size of what is read of a message.
const scrap = 16

func openNews() (news, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK,
		unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	raw, err := file.SyscallConn()
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("listen to netlink: %w", err)
	}
	return &netlink{file, raw}, nil
}

// Wait implements news.
func (n *netlink) Wait() error {
	var scraps [scrap]byte
	_, err := n.file.Read(scraps[:])
	if errors.Is(err, unix.ENOBUFS) { // messages were lost, which is news too
		return nil
	}
	return err
}

// Forget implements news.
func (n *netlink) Forget() error {
	var scraps [scrap]byte
	return n.raw.Read(func(fd uintptr) bool {
		for {
			_, err := unix.Read(int(fd), scraps[:])
			if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
				return true
			}
		}
	})
}

// Close implements news.
func (n *netlink) Close() error { return n.file.Close() }
