package dialer

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const testMark = 0x1234

// option reads a socket option of conn.
func option(t *testing.T, conn syscall.Conn, level, name int) int {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var optErr error
	err = raw.Control(func(fd uintptr) { value, optErr = unix.GetsockoptInt(int(fd), level, name) })
	if err = errors.Join(err, optErr); err != nil {
		t.Fatal(err)
	}
	return value
}

// marks records what became of every socket that was to be marked.
type marks struct {
	mu   sync.Mutex
	seen []int // SO_MARK of each, read back
	err  error // to return instead of marking
}

func (m *marks) set(fd uintptr, mark uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if err := setMark(fd, mark); err != nil {
		return err
	}
	got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK)
	m.seen = append(m.seen, got)
	return err
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("setting SO_MARK takes CAP_NET_ADMIN: run as root")
	}
}

func TestMarkIsOnEverySocket(t *testing.T) {
	needRoot(t)
	l, port := listen(t, "127.0.0.1")
	dns := startDNS(t, truncates, map[string]string{"www.example.test.": "127.0.0.1"})
	d := New(Options{Mark: testMark, Servers: []netip.AddrPort{dns.addr}})
	m := &marks{}
	d.setMark = m.set
	conn := wantReached(t, d, "www.example.test:"+port, l)
	if got := option(t, conn, unix.SOL_SOCKET, unix.SO_MARK); got != testMark {
		t.Errorf("SO_MARK of the stream = %#x, want %#x", got, testMark)
	}
	// A over UDP and then over TCP, and the stream; AAAA too, unless it was slow.
	if len(m.seen) < 3 {
		t.Errorf("marked sockets = %d, want 3 at least", len(m.seen))
	}
	for i, got := range m.seen {
		if got != testMark {
			t.Errorf("SO_MARK of socket %d = %#x, want %#x", i, got, testMark)
		}
	}
	pc, err := d.ListenPacket(within(t), "udp4")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if got := option(t, pc.(*net.UDPConn), unix.SOL_SOCKET, unix.SO_MARK); got != testMark {
		t.Errorf("SO_MARK of the packet socket = %#x, want %#x", got, testMark)
	}
}

// The system's servers are asked through marked sockets too.
func TestMarkIsOnLookupsWithoutServers(t *testing.T) {
	d := New(Options{Mark: testMark})
	d.setMark = (&marks{err: unix.EPERM}).set
	_, err := d.LookupAddrs(within(t), "www.example.test")
	if !isMark(err) {
		t.Errorf("LookupAddrs without the right to mark = %v, want a MarkError", err)
	}
}

func TestMarkThatCannotBeAppliedFailsTheDial(t *testing.T) {
	l, port := listen(t, "127.0.0.1")
	dns := startDNS(t, answers, map[string]string{"www.example.test.": "127.0.0.1"})
	tests := []struct {
		name string
		do   func(d *Dialer) error
	}{
		{"address", func(d *Dialer) error {
			_, err := d.DialStream(within(t), l.Addr().String())
			return err
		}},
		{"name", func(d *Dialer) error {
			_, err := d.DialStream(within(t), "www.example.test:"+port)
			return err
		}},
		{"packet", func(d *Dialer) error {
			_, err := d.ListenPacket(within(t), "udp4")
			return err
		}},
		{"lookup", func(d *Dialer) error {
			_, err := d.LookupAddrs(within(t), "www.example.test")
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := New(Options{Mark: testMark, Servers: []netip.AddrPort{dns.addr}})
			d.setMark = (&marks{err: unix.EPERM}).set
			err := tt.do(d)
			mark, ok := errors.AsType[*MarkError](err)
			if !ok || mark.Mark != testMark || !errors.Is(err, unix.EPERM) {
				t.Fatalf("%s = %v, want a MarkError that is %v", tt.name, err, unix.EPERM)
			}
			if !strings.Contains(err.Error(), "apply fwmark 4660: operation not permitted") ||
				!strings.Contains(err.Error(), "CAP_NET_ADMIN") {
				t.Errorf("%s = %q, want the mark and CAP_NET_ADMIN in it", tt.name, err)
			}
		})
	}
	if asked := dns.questions(); asked != 0 {
		t.Errorf("%d questions left unmarked, want 0", asked)
	}
}

// Without rights the kernel itself says no.
func TestMarkWithoutRights(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may set SO_MARK: run as another user")
	}
	l, _ := listen(t, "127.0.0.1")
	conn, err := New(Options{Mark: testMark}).DialStream(within(t), l.Addr().String())
	if err == nil {
		_ = conn.Close()
		t.Skip("this user may set SO_MARK")
	}
	if !isMark(err) || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("DialStream = %v, want a MarkError that names CAP_NET_ADMIN", err)
	}
}

func TestSocketOptions(t *testing.T) {
	l, port := listen(t, "127.0.0.1")
	conn := wantReached(t, New(Options{}), "127.0.0.1:"+port, l)
	tests := []struct {
		name             string
		level, opt, want int
	}{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, 0},
	}
	for _, tt := range tests {
		if got := option(t, conn, tt.level, tt.opt); got != tt.want {
			t.Errorf("%s = %d, want %d", tt.name, got, tt.want)
		}
	}
}

// The haste after a change of the network is over when it is told so.
func TestAskAndRelax(t *testing.T) {
	s := new(Sockets)
	near, _ := connected(t, s)
	want := func(idle, interval, count int) {
		t.Helper()
		for opt, want := range map[int]int{
			unix.TCP_KEEPIDLE: idle, unix.TCP_KEEPINTVL: interval, unix.TCP_KEEPCNT: count,
		} {
			if got := option(t, near, unix.IPPROTO_TCP, opt); got != want {
				t.Errorf("option %d = %d, want %d", opt, got, want)
			}
		}
	}
	s.Ask()
	want(1, 1, 2)
	s.Relax()
	want(15, 15, 3)
}

func TestZoneWithoutInterface(t *testing.T) {
	listen(t, "::1") // skips without IPv6
	_, err := New(Options{}).DialStream(within(t), "[fe80::1%nope]:1")
	if err == nil || !strings.Contains(err.Error(), `no network interface "nope"`) {
		t.Errorf("DialStream([fe80::1%%nope]:1) = %v, want the interface named", err)
	}
}
