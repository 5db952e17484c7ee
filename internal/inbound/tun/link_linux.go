//go:build !unit

package tun

import (
	"os"

	"golang.org/x/sys/unix"
)

// link is a network interface, reached through a socket of its namespace.
type link struct {
	control int
	name    string
}

// index fails if there is no such interface.
func (l link) index() (int, error) {
	n, err := l.ask("SIOCGIFINDEX", unix.SIOCGIFINDEX)
	return int(n), err
}

func (l link) mtu() (int, error) {
	n, err := l.ask("SIOCGIFMTU", unix.SIOCGIFMTU)
	return int(n), err
}

func (l link) setMTU(mtu int) error { return l.tell("SIOCSIFMTU", unix.SIOCSIFMTU, mtu) }

// setQueue sets how many packets wait in the kernel to be read.
func (l link) setQueue(packets int) error {
	return l.tell("SIOCSIFTXQLEN", unix.SIOCSIFTXQLEN, packets)
}

func (l link) up() error {
	request, err := unix.NewIfreq(l.name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(l.control, unix.SIOCGIFFLAGS, request); err != nil {
		return os.NewSyscallError("SIOCGIFFLAGS", err)
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	return os.NewSyscallError("SIOCSIFFLAGS", unix.IoctlIfreq(l.control, unix.SIOCSIFFLAGS, request))
}

func (l link) tell(name string, what uint, value int) error {
	request, err := unix.NewIfreq(l.name)
	if err != nil {
		return err
	}
	request.SetUint32(uint32(value))
	return os.NewSyscallError(name, unix.IoctlIfreq(l.control, what, request))
}

func (l link) ask(name string, what uint) (uint32, error) {
	request, err := unix.NewIfreq(l.name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(l.control, what, request); err != nil {
		return 0, os.NewSyscallError(name, err)
	}
	return request.Uint32(), nil
}
