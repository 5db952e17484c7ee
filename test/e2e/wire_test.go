//go:build e2e && linux

package e2e

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// wire counts every packet on a device, by what it is: "tcp 198.51.100.1:9000" has the end that is not the
// machine.
type wire struct {
	fd int

	mu   sync.Mutex
	seen map[string]int
}

const wireBuffer = 64 << 20 // of the kernel, so that nothing goes unseen while this process waits for a CPU

func (w *wire) open(device string) error {
	at, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	w.seen = make(map[string]int)
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, wireBuffer); err != nil {
		return err
	}
	if err := unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: at.Index}); err != nil {
		return err
	}
	go w.run()
	return nil
}

func (w *wire) run() {
	buf := make([]byte, 256)
	for {
		n, _, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil {
			continue
		}
		what := nameOf(buf[:n])
		w.mu.Lock()
		w.seen[what]++
		w.mu.Unlock()
	}
}

// take returns what was seen since the last time.
func (w *wire) take() (seen map[string]int, dropped int, err error) {
	stats, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return nil, 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, w.seen = w.seen, make(map[string]int)
	return seen, int(stats.Drops), nil
}

// nameOf says what a frame is.
func nameOf(frame []byte) string {
	if len(frame) < 14 {
		return "short"
	}
	p := frame[14:]
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == unix.ETH_P_ARP:
		return "arp"
	case kind == unix.ETH_P_IP && len(p) >= 20:
		from, to := netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
		return nameOfPacket(p[9], from, to, p[int(p[0]&15)*4:])
	case kind == unix.ETH_P_IPV6 && len(p) >= 40:
		from, to := netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
		next, rest := p[6], p[40:]
		if next == 0 && len(rest) > 8 { // hop by hop, of multicast listeners
			next, rest = rest[0], rest[(int(rest[1])+1)*8:]
		}
		return nameOfPacket(next, from, to, rest)
	default:
		return fmt.Sprintf("ethertype %#x", kind)
	}
}

func nameOfPacket(proto byte, from, to netip.Addr, p []byte) string {
	if len(p) < 4 {
		return fmt.Sprintf("short %d %v %v", proto, from, to)
	}
	other, port := to, binary.BigEndian.Uint16(p[2:])
	mine, sent := binary.BigEndian.Uint16(p), true
	if s := to.String(); s == hostLAN || s == host6 {
		other, port, mine, sent = from, binary.BigEndian.Uint16(p), port, false
	}
	switch {
	case proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_UDP:
		name := map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[proto]
		if mine == servicePort {
			return fmt.Sprintf("%s service %d", name, mine)
		}
		return fmt.Sprintf("%s %v", name, netip.AddrPortFrom(other, port))
	case proto == unix.IPPROTO_ICMPV6 && isOfNeighbours(p[0]):
		return "neighbours"
	case proto == unix.IPPROTO_ICMPV6:
		return fmt.Sprintf("icmp6 %d %v sent=%t", p[0], other, sent)
	case proto == unix.IPPROTO_ICMP:
		return fmt.Sprintf("icmp %d %v sent=%t", p[0], other, sent)
	}
	return fmt.Sprintf("protocol %d %v", proto, other)
}

// isOfNeighbours is true of the types of neighbour discovery, RFC 4861, and of multicast listeners.
func isOfNeighbours(icmp byte) bool {
	return icmp >= 133 && icmp <= 137 || icmp >= 130 && icmp <= 132 || icmp == 143
}

// onWire returns what was on the uplink since the last time.
func (o *outside) onWire(t *testing.T) map[string]int {
	t.Helper()
	r := o.must(t, order{Do: "wire"})
	if r.Dropped > 0 {
		t.Errorf("%d packets on the uplink went unseen", r.Dropped)
	}
	return r.Wire
}

// wantOnWire finds what was on the uplink and is not allowed there. Neighbours always are.
func (o *outside) wantOnWire(t *testing.T, what string, allowed ...string) {
	t.Helper()
	seen := o.onWire(t)
	allowed = append(allowed, "arp", "neighbours")
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		lines = append(lines, fmt.Sprintf("%d %s", seen[name], name))
		if !slices.Contains(allowed, name) {
			t.Errorf("%s: %d packets on the uplink are %s", what, seen[name], name)
		}
	}
	t.Logf("%s: on the uplink: %s", what, strings.Join(lines, ", "))
}
