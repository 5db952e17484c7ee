package capture

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

// Clean removes what a killed process left, a kill switch included, and says how many things that were. It is
// for `tun down`: Apply takes over without it, and without a moment in which nothing is blocked. The error is
// ErrRunning when a process is alive.
func Clean(log *slog.Logger) (removed int, err error) {
	k, err := openKernel()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	s, err := k.state()
	if err != nil {
		return 0, err
	}
	if s.Running {
		return 0, ErrRunning
	}
	removed, err = k.sweep()
	if s.Guard && err == nil {
		if err = k.dropGuard(); err == nil {
			removed++
		}
	}
	if removed > 0 && log != nil {
		log.Info("removed what a process that was killed had left", slog.Int("removed", removed))
	}
	return removed, err
}

// Status says what of a capture is in the kernel. Without CAP_NET_ADMIN the guard is not to be seen: the
// error says so, and the rest of the state is true.
func Status() (State, error) {
	k, err := openKernel()
	if err != nil {
		return State{}, err
	}
	s, err := k.state()
	return s, errors.Join(err, k.close())
}

func (k *kernel) state() (State, error) {
	ours, err := k.ours()
	if err != nil {
		return State{}, err
	}
	s := State{Rules: len(ours.rules), Routes: len(ours.routes), Addresses: len(ours.addrs)}
	for _, r := range ours.routes {
		if index := numberOf(r.body, routeFixed, unix.RTA_OIF); index != 0 && r.body[7] == unix.RTN_UNICAST {
			s.Device, s.Running = k.holder(index)
		}
	}
	g, err := k.guard()
	if err != nil {
		return s, err
	}
	s.Guard, s.Stays = g.there, g.there && g.owner == 0
	s.Running = s.Running || g.owner != 0 && !k.ownsGuard(g)
	return s, nil
}

// holder is the device with that index, and whether somebody reads it: then a TUN device has a carrier.
func (k *kernel) holder(index uint32) (device string, held bool) {
	i, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return "", false
	}
	flags, err := linkFlags(k, i.Name)
	return i.Name, err == nil && flags&unix.IFF_LOWER_UP != 0
}

// ours are the messages of the kernel's lists that are about things with our tag.
type ours struct{ rules, routes, addrs []message }

// ours reads them.
func (k *kernel) ours() (o ours, err error) {
	var errs [3]error
	list := message{kind: unix.RTM_GETRULE, body: make([]byte, routeFixed)}
	o.rules, errs[0] = k.tagged(list, func(b []byte) bool {
		return numberOf(b, routeFixed, unix.FRA_PROTOCOL) == protocol
	})
	list.kind = unix.RTM_GETROUTE
	o.routes, errs[1] = k.tagged(list, func(b []byte) bool {
		return len(b) >= routeFixed && b[5] == protocol && numberOf(b, routeFixed, unix.RTA_TABLE) == table
	})
	list = message{kind: unix.RTM_GETADDR, body: make([]byte, addrFixed)}
	o.addrs, errs[2] = k.tagged(list, func(b []byte) bool {
		return numberOf(b, addrFixed, addrProto) == protocol
	})
	return o, errors.Join(errs[:]...)
}

// tagged is what of a list is ours.
func (k *kernel) tagged(list message, isOurs func(body []byte) bool) ([]message, error) {
	all, err := k.rt.dump(list)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m message) bool { return !isOurs(m.body) }), nil
}

// sweep removes everything with our tag, but not the guard: the kernel takes what it told us of a thing as
// the description of what is to go. It goes on after an error.
func (k *kernel) sweep() (removed int, err error) {
	o, err := k.ours()
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, list := range []struct {
		kind uint16
		msgs []message
	}{{unix.RTM_DELRULE, o.rules}, {unix.RTM_DELROUTE, o.routes}, {unix.RTM_DELADDR, o.addrs}} {
		for _, m := range slices.Backward(list.msgs) {
			if err := k.destroy(list.kind, m.body); err != nil {
				errs = append(errs, err)
				continue
			}
			removed++
		}
	}
	return removed, errors.Join(errs...)
}

// family is the address family that a message of rtnetlink is about.
func family(body []byte) byte { return body[0] }

// indexIn is the device in struct ifaddrmsg.
func indexIn(body []byte) uint32 { return binary.NativeEndian.Uint32(body[4:]) }
