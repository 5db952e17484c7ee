package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// The fixed parts of rtnetlink(7) messages, before their attributes.
const (
	routeFixed = unix.SizeofRtMsg // of rules as well
	addrFixed  = unix.SizeofIfAddrmsg
	linkFixed  = unix.SizeofIfInfomsg

	ruleInvert = 2  // FIB_RULE_INVERT
	addrProto  = 11 // IFA_PROTO, since Linux 5.18; ignored before
)

// kernel is where steps are told to.
type kernel struct {
	rt *conn // rtnetlink
	nf *conn // nfnetlink, which owns the guard
}

func openKernel() (*kernel, error) {
	rt, err := openNetlink(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	nf, err := openNetlink(unix.NETLINK_NETFILTER)
	if err != nil {
		nf = nil // a kernel without netfilter; who needs the guard says so
	}
	return &kernel{rt: rt, nf: nf}, nil
}

// close also makes the kernel delete a guard that has an owner.
func (k *kernel) close() error {
	if k.nf == nil {
		return k.rt.close()
	}
	return errors.Join(k.rt.close(), k.nf.close())
}

// create tells the kernel of a new thing, and whether it was new.
func (k *kernel) create(kind uint16, body []byte) (changed bool, err error) {
	flags := uint16(unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL)
	_, err = k.rt.ask(message{kind, flags, body})
	if errors.Is(err, unix.EEXIST) {
		return false, nil
	}
	return err == nil, err
}

// destroy tells it of the end of one. That it is gone already, alone or with its device, is fine.
func (k *kernel) destroy(kind uint16, body []byte) error {
	_, err := k.rt.ask(message{kind, unix.NLM_F_REQUEST | unix.NLM_F_ACK, body})
	for _, gone := range []error{unix.ENOENT, unix.ESRCH, unix.ENODEV, unix.EADDRNOTAVAIL} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	return err
}

// inet is the number of the address family.
func (f Family) inet() byte {
	if f == IPv4 {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (r Rule) add(k *kernel) (bool, error) { return k.create(unix.RTM_NEWRULE, r.wire()) }

func (r Rule) remove(k *kernel) error { return k.destroy(unix.RTM_DELRULE, r.wire()) }

// wire is struct fib_rule_hdr with attributes.
func (r Rule) wire() []byte {
	b := make([]byte, routeFixed)
	b[0] = r.Family.inet()
	b[7] = r.actionCode()
	if r.NotIIF {
		binary.NativeEndian.PutUint32(b[8:], ruleInvert)
	}
	b = append(b, attrNative(unix.FRA_PRIORITY, r.Priority)...)
	b = append(b, attr(unix.FRA_PROTOCOL, []byte{protocol})...)
	if r.To.IsValid() {
		b[1] = byte(r.To.Bits())
		b = append(b, attr(unix.FRA_DST, r.To.Addr().AsSlice())...)
	}
	if r.From.IsValid() {
		b[2] = byte(r.From.Bits())
		b = append(b, attr(unix.FRA_SRC, r.From.Addr().AsSlice())...)
	}
	if r.Mark != 0 {
		b = append(b, attrNative(unix.FRA_FWMARK, r.Mark)...)
	}
	if r.IIF != "" {
		b = append(b, attrString(unix.FRA_IIFNAME, r.IIF)...)
	}
	if r.HasUIDs {
		b = append(b, attr(unix.FRA_UID_RANGE, native32(r.UIDs.First), native32(r.UIDs.Last))...)
	}
	if r.Protocol != 0 {
		port := binary.NativeEndian.AppendUint16(nil, r.Port)
		b = append(b, attr(unix.FRA_IP_PROTO, []byte{r.Protocol})...)
		b = append(b, attr(unix.FRA_DPORT_RANGE, port, port)...)
	}
	return append(b, r.target()...)
}

func (r Rule) actionCode() byte {
	switch {
	case r.Goto != 0:
		return unix.FR_ACT_GOTO
	case r.Table != 0:
		return unix.FR_ACT_TO_TBL
	}
	return unix.FR_ACT_NOP
}

// target are the attributes that say what a match leads to.
func (r Rule) target() []byte {
	var b []byte
	if r.Goto != 0 {
		b = append(b, attrNative(unix.FRA_GOTO, r.Goto)...)
	}
	if r.Table != 0 {
		b = append(b, attrNative(unix.FRA_TABLE, r.Table)...)
	}
	if r.NoDefault {
		b = append(b, attrNative(unix.FRA_SUPPRESS_PREFIXLEN, 0)...)
	}
	return b
}

func (r Route) add(k *kernel) (bool, error) {
	b, err := r.wire()
	if err != nil {
		return false, err
	}
	return k.create(unix.RTM_NEWROUTE, b)
}

func (r Route) remove(k *kernel) error {
	b, err := r.wire()
	if err != nil {
		return nil //nolint:nilerr // the device is gone, and its routes are
	}
	return k.destroy(unix.RTM_DELROUTE, b)
}

// wire is struct rtmsg with attributes.
func (r Route) wire() ([]byte, error) {
	b := make([]byte, routeFixed)
	b[0], b[1], b[5] = familyOf(r.Dst.Addr()).inet(), byte(r.Dst.Bits()), protocol
	b = append(b, attrNative(unix.RTA_TABLE, table)...)
	if r.Dst.Bits() > 0 {
		b = append(b, attr(unix.RTA_DST, r.Dst.Addr().AsSlice())...)
	}
	if r.Metric != 0 {
		b = append(b, attrNative(unix.RTA_PRIORITY, r.Metric)...)
	}
	switch r.Kind {
	case Throw:
		b[7] = unix.RTN_THROW
	case Unreachable:
		b[7] = unix.RTN_UNREACHABLE
	case Through:
		b[6], b[7] = unix.RT_SCOPE_LINK, unix.RTN_UNICAST
		index, err := indexOf(r.Device)
		if err != nil {
			return nil, err
		}
		b = append(b, attrNative(unix.RTA_OIF, index)...)
		b = append(b, attr(unix.RTA_PREFSRC, r.Source.AsSlice())...)
	}
	return b, nil
}

func (a Address) add(k *kernel) (bool, error) {
	b, err := a.wire()
	if err != nil {
		return false, err
	}
	return k.create(unix.RTM_NEWADDR, b)
}

func (a Address) remove(k *kernel) error {
	b, err := a.wire()
	if err != nil {
		return nil //nolint:nilerr // the device is gone, and its addresses are
	}
	return k.destroy(unix.RTM_DELADDR, b)
}

// wire is struct ifaddrmsg with attributes.
func (a Address) wire() ([]byte, error) {
	index, err := indexOf(a.Device)
	if err != nil {
		return nil, err
	}
	b := make([]byte, addrFixed)
	b[0], b[1] = familyOf(a.Prefix.Addr()).inet(), byte(a.Prefix.Bits())
	binary.NativeEndian.PutUint32(b[4:], index)
	ip := a.Prefix.Addr().AsSlice()
	return slices.Concat(b, attr(unix.IFA_LOCAL, ip), attr(unix.IFA_ADDRESS, ip),
		attrNative(unix.IFA_FLAGS, unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE),
		attr(addrProto, []byte{protocol})), nil
}

func (l Link) add(k *kernel) (bool, error) {
	up, err := isUp(k, l.Device)
	if err != nil || up {
		return false, err
	}
	return true, l.set(k, unix.IFF_UP)
}

func (l Link) remove(k *kernel) error {
	if _, err := indexOf(l.Device); err != nil {
		return nil //nolint:nilerr // the device is gone
	}
	return l.set(k, 0)
}

// set changes IFF_UP of the device's flags.
func (l Link) set(k *kernel, flags uint32) error {
	b, err := linkWire(l.Device)
	if err != nil {
		return err
	}
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], unix.IFF_UP)
	_, err = k.rt.ask(message{unix.RTM_NEWLINK, unix.NLM_F_REQUEST | unix.NLM_F_ACK, b})
	return err
}

// linkWire is struct ifinfomsg that names a device.
func linkWire(device string) ([]byte, error) {
	index, err := indexOf(device)
	if err != nil {
		return nil, err
	}
	b := make([]byte, linkFixed)
	binary.NativeEndian.PutUint32(b[4:], index)
	return b, nil
}

func indexOf(device string) (uint32, error) {
	i, err := net.InterfaceByName(device)
	if err != nil {
		return 0, fmt.Errorf("device %s: %w", device, err)
	}
	return uint32(i.Index), nil
}

// linkFlags are the IFF_ flags of a device.
func linkFlags(k *kernel, device string) (uint32, error) {
	b, err := linkWire(device)
	if err != nil {
		return 0, err
	}
	got, err := k.rt.ask(message{unix.RTM_GETLINK, unix.NLM_F_REQUEST | unix.NLM_F_ACK, b})
	if err != nil {
		return 0, err
	}
	for _, m := range got {
		if m.kind == unix.RTM_NEWLINK && len(m.body) >= linkFixed {
			return binary.NativeEndian.Uint32(m.body[8:]), nil
		}
	}
	return 0, fmt.Errorf("device %s: no answer", device)
}

func isUp(k *kernel, device string) (bool, error) {
	flags, err := linkFlags(k, device)
	return flags&unix.IFF_UP != 0, err
}

// addrIn reads an address attribute.
func addrIn(body []byte, fixed int, kind uint16) netip.Addr {
	v, _ := attrOf(body, fixed, kind)
	a, _ := netip.AddrFromSlice(v)
	return a
}
