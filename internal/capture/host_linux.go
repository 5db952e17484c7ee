package capture

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// place settles the options' addresses, with what this host is like.
func (o *Options) place(k *kernel) error {
	index, err := indexOf(o.Device)
	if err != nil {
		return err
	}
	if !o.Addr4.IsValid() {
		taken, err := k.taken(index)
		if err != nil {
			return err
		}
		if o.Addr4, err = freeAddr4(taken); err != nil {
			return err
		}
	}
	if !o.Addr6.IsValid() {
		o.Addr6 = DefaultAddr6()
	}
	if !usesIPv6(o.Device) {
		o.Addr6 = netip.Prefix{}
	}
	return nil
}

// taken are the IPv4 networks that other devices have addresses in.
func (k *kernel) taken(except uint32) ([]netip.Prefix, error) {
	list, err := k.rt.dump(message{kind: unix.RTM_GETADDR, body: make([]byte, addrFixed)})
	if err != nil {
		return nil, err
	}
	var prefixes []netip.Prefix
	for _, m := range list {
		if len(m.body) < addrFixed || family(m.body) != unix.AF_INET || indexIn(m.body) == except {
			continue
		}
		if a := addrIn(m.body, addrFixed, unix.IFA_ADDRESS); a.IsValid() {
			prefixes = append(prefixes, netip.PrefixFrom(a, int(m.body[1])).Masked())
		}
	}
	return prefixes, nil
}

// CheckRoute says through which device a socket of this process with that mark reaches ip. If that is the
// device of the tunnel, our own traffic would go round in a loop. No route at all is an error of the
// kernel's, such as ENETUNREACH.
func CheckRoute(mark uint32, ip netip.Addr) (device string, err error) {
	rt, err := openNetlink(unix.NETLINK_ROUTE)
	if err != nil {
		return "", err
	}
	defer func() { _ = rt.close() }() // nothing of it is in force
	ip = ip.Unmap().WithZone("")
	b := make([]byte, routeFixed)
	b[0], b[1] = familyOf(ip).inet(), byte(ip.BitLen())
	b = append(b, attr(unix.RTA_DST, ip.AsSlice())...)
	if mark != 0 {
		b = append(b, attrNative(unix.RTA_MARK, mark)...)
	}
	got, err := rt.ask(message{unix.RTM_GETROUTE, unix.NLM_F_REQUEST | unix.NLM_F_ACK, b})
	if err != nil {
		return "", fmt.Errorf("route to %v: %w", ip, err)
	}
	for _, m := range got {
		if index := numberOf(m.body, routeFixed, unix.RTA_OIF); index != 0 {
			i, err := net.InterfaceByIndex(int(index))
			if err != nil {
				return "", fmt.Errorf("route to %v: %w", ip, err)
			}
			return i.Name, nil
		}
	}
	return "", fmt.Errorf("route to %v: the kernel names no device", ip)
}
