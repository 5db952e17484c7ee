package dialer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// replyRoom is more than the kernel says of a route.
const replyRoom = 8 << 10

// noWay are the kernel's answers that mean that packets would not leave.
var noWay = []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.EACCES, unix.EINVAL}

// routeTo asks the kernel (RTM_GETROUTE of rtnetlink(7)), which takes no rights, not even with a mark.
func routeTo(ip netip.Addr, mark uint32) (Route, error) {
	request, err := routeRequest(ip, mark)
	if err != nil {
		return Route{}, err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return Route{}, fmt.Errorf("open netlink: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return Route{}, fmt.Errorf("ask for a route: %w", err)
	}
	reply := make([]byte, replyRoom)
	n, _, err := unix.Recvfrom(fd, reply, unix.MSG_DONTWAIT) // it was there when Sendto returned
	if err != nil {
		return Route{}, fmt.Errorf("ask for a route: %w", err)
	}
	return parseRoute(reply[:n])
}

// routeRequest is the question for the route to ip.
func routeRequest(ip netip.Addr, mark uint32) ([]byte, error) {
	family := byte(unix.AF_INET6)
	if ip.Is4() {
		family = unix.AF_INET
	}
	b := make([]byte, unix.SizeofNlMsghdr, 128)
	b = append(b, family, byte(ip.BitLen()), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // struct rtmsg
	b = appendAttr(b, unix.RTA_DST, ip.AsSlice())
	if mark != 0 {
		b = appendAttr(b, unix.RTA_MARK, binary.NativeEndian.AppendUint32(nil, mark))
	}
	if zone := ip.Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoRoute, err)
		}
		b = appendAttr(b, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(link.Index)))
	}
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	return b, nil
}

// appendAttr appends an attribute whose length is a multiple of four, as those of ours are.
func appendAttr(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, value...)
}

// parseRoute reads the kernel's answer.
func parseRoute(reply []byte) (r Route, err error) {
	messages, err := syscall.ParseNetlinkMessage(reply)
	if err != nil || len(messages) == 0 {
		return Route{}, fmt.Errorf("answer of netlink: %w", errors.Join(err, errBadReply))
	}
	m := &messages[0]
	if m.Header.Type == unix.NLMSG_ERROR {
		return Route{}, refusal(m.Data)
	}
	if m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg {
		return Route{}, errBadReply
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return Route{}, fmt.Errorf("answer of netlink: %w", err)
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(a.Value)
		case unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(a.Value)
		case unix.RTA_OIF:
			if len(a.Value) == 4 {
				r.Link = int(binary.NativeEndian.Uint32(a.Value))
			}
		}
	}
	return r, nil
}

var errBadReply = errors.New("not what it was asked for")

// refusal is the error in a message of type NLMSG_ERROR, which begins with the negated number.
func refusal(data []byte) error {
	if len(data) < 4 {
		return errBadReply
	}
	errno := syscall.Errno(-int32(binary.NativeEndian.Uint32(data)))
	for _, no := range noWay {
		if errors.Is(errno, no) {
			return fmt.Errorf("%w: %w", errNoRoute, errno)
		}
	}
	return fmt.Errorf("ask for a route: %w", errno)
}
