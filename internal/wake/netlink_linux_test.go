package wake

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openNetlink returns the kernel's news, with a way to make some: the test writes to the socket itself.
func openNetlink(t *testing.T) (n *netlink, tell func()) {
	t.Helper()
	opened, err := openNews()
	if err != nil {
		t.Skipf("no netlink here: %v", err)
	}
	n = opened.(*netlink)
	t.Cleanup(func() { _ = n.Close() })
	var self unix.Sockaddr
	controlErr := n.raw.Control(func(fd uintptr) { self, err = unix.Getsockname(int(fd)) })
	if controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
	sender, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(sender) })
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: self.(*unix.SockaddrNetlink).Pid}
	return n, func() {
		t.Helper()
		err := unix.Sendto(sender, make([]byte, 64), 0, to)
		if errors.Is(err, unix.EPERM) {
			t.Skip("messages between programs need rights")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestNetlinkTellsOnce(t *testing.T) {
	n, tell := openNetlink(t)
	for range 100 {
		tell()
	}
	if err := n.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := n.Forget(); err != nil {
		t.Fatal(err)
	}
	_ = n.file.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if err := n.Wait(); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Wait() after Forget = %v, want nothing to come", err)
	}
}

func TestCloseEndsNetlink(t *testing.T) {
	n, _ := openNetlink(t)
	waited := make(chan error, 1)
	go func() { waited <- n.Wait() }()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err == nil {
		t.Error("Wait() = nil after Close, want an error")
	}
	if err := n.Forget(); err == nil {
		t.Error("Forget() = nil after Close, want an error")
	}
}
