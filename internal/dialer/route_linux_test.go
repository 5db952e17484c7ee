package dialer

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRouteTellsTheLink(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip(err)
	}
	for _, mark := range []uint32{0, 7} { // without rights, too
		got, err := routeTo(netip.MustParseAddr("127.0.0.1"), mark)
		want := Route{Source: netip.MustParseAddr("127.0.0.1"), Link: lo.Index}
		if err != nil || got != want {
			t.Errorf("routeTo with mark %d = %v, %v, want %v", mark, got, err, want)
		}
	}
}

// netlinkMessage is a message with a body behind its header.
func netlinkMessage(kind uint16, body []byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr)
	binary.NativeEndian.PutUint32(b, uint32(len(b)+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	return append(b, body...)
}

// refused is the kernel's answer with an error number.
func refused(errno unix.Errno) []byte {
	return netlinkMessage(unix.NLMSG_ERROR, binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))))
}

func TestParseRoute(t *testing.T) {
	body := make([]byte, unix.SizeofRtMsg)
	body = appendAttr(body, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, 3))
	body = appendAttr(body, unix.RTA_PREFSRC, []byte{192, 0, 2, 7})
	body = appendAttr(body, unix.RTA_GATEWAY, []byte{192, 0, 2, 1})
	want := Route{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.1"), 3}
	if got, err := parseRoute(netlinkMessage(unix.RTM_NEWROUTE, body)); got != want || err != nil {
		t.Errorf("parseRoute() = %v, %v, want %v", got, err, want)
	}
	rows := map[string]struct {
		reply []byte
		none  bool // no route, for certain
	}{
		"nothing":         {nil, false},
		"half a header":   {make([]byte, 10), false},
		"something else":  {netlinkMessage(unix.RTM_NEWLINK, body), false},
		"no room":         {netlinkMessage(unix.NLMSG_ERROR, nil), false},
		"half a route":    {netlinkMessage(unix.RTM_NEWROUTE, body[:4]), false},
		"no way":          {refused(unix.ENETUNREACH), true},
		"host is a hole":  {refused(unix.EHOSTUNREACH), true},
		"no such request": {refused(unix.EOPNOTSUPP), false},
	}
	for name, tt := range rows {
		if _, err := parseRoute(tt.reply); err == nil || errors.Is(err, errNoRoute) != tt.none {
			t.Errorf("%s: parseRoute() = %v, want an error, %v = %v", name, err, errNoRoute, tt.none)
		}
	}
}

func FuzzParseRoute(f *testing.F) {
	f.Add(refused(unix.ENETUNREACH))
	f.Add(netlinkMessage(unix.RTM_NEWROUTE, make([]byte, unix.SizeofRtMsg+4)))
	f.Fuzz(func(_ *testing.T, reply []byte) { _, _ = parseRoute(reply) })
}
