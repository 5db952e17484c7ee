package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The lab is a host that is a network namespace of its own, with a test in it; an uplink to a far end, which
// is the internet and a neighbour as well; and, for some tests, a client behind the host.
const (
	roleVar = "CAPTURE_ROLE" // what a process started by the tests is

	uplink     = "up0"
	hostLAN    = "192.168.77.1"
	farLAN     = "192.168.77.2"
	farWeb     = "203.0.113.10"
	farWeb6    = "2001:db8:1::10"
	hostPublic = "2001:db8:77::1"
	lanNet6    = "2001:db8:77::2"
	clientLAN  = "192.168.88.2"
	clientLAN6 = "2001:db8:88::2"

	port    = "7000" // answers with the word "far"
	testTUN = "owtun0"
	timeout = 3 * time.Second
	enough  = time.Second / 2 // to wait for an answer that is not to come
)

// TestMain is also the processes that the tests start.
func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "far":
		runFar(os.Stdin, os.Stdout)
	case "victim":
		fmt.Println(runVictim())
	default:
		os.Exit(m.Run())
	}
}

// inLab runs the calling test in a namespace. It reports true in the process that is there, and false when
// there is nothing left to do.
func inLab(t *testing.T) bool {
	t.Helper()
	if os.Getenv(roleVar) == "lab" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	for _, name := range []string{"ip", "nft", "nsenter"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s, to build a network and to compare with it", name)
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("needs a TUN device: %v", err)
	}
	t.Parallel() // with the tests of other namespaces
	cmd := role(t, "lab", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=100s")
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, unix.EPERM):
		t.Skip("may make no network namespace")
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	return false
}

// role is a process of this program, which does not outlive its parent.
func role(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVar+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// sh runs commands of a shell, here or in the namespace of a process.
func sh(t *testing.T, where *peer, script string) string {
	t.Helper()
	args := []string{"sh", "-ec", script}
	if where != nil {
		args = append([]string{"nsenter", "-n", "-t", fmt.Sprint(where.cmd.Process.Pid)}, args...)
	}
	var complaints strings.Builder
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, &complaints)
	}
	return string(out)
}

// peer is a process in a namespace of its own that listens and dials as it is told.
type peer struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	cmd := role(t, "far")
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return &peer{cmd, in, bufio.NewReader(out)}
}

// do asks the peer for one thing and returns its answer.
func (p *peer) do(t *testing.T, words ...string) string {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, strings.Join(words, " ")); err != nil {
		t.Fatal(err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// newUplink builds the far end and the way to it. Reverse paths are checked strictly on the whole host.
func newUplink(t *testing.T) *peer {
	t.Helper()
	far := newPeer(t)
	sh(t, nil, `ip link set lo up
		for f in all default; do echo 1 >/proc/sys/net/ipv4/conf/$f/rp_filter; done
		echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
		ip link add up0 type veth peer name far0`)
	sh(t, nil, fmt.Sprintf("ip link set far0 netns %d", far.cmd.Process.Pid))
	sh(t, far, `ip link set lo up
		echo 0 >/proc/sys/net/ipv6/conf/far0/accept_dad
		echo 1 >/proc/sys/net/ipv4/ip_forward
		ip addr add 192.168.77.2/24 dev far0
		ip addr add 2001:db8:77::2/64 dev far0 nodad
		ip addr add 203.0.113.10/32 dev lo
		ip addr add 2001:db8:1::10/128 dev lo nodad
		ip addr add 203.0.113.20/32 dev lo
		ip link set far0 up
		ip route add 192.168.88.0/24 via 192.168.77.1
		ip route add 2001:db8:88::/64 via 2001:db8:77::1
		ip route add 172.19.0.0/16 via 192.168.77.1`)
	sh(t, nil, `ip addr add 192.168.77.1/24 dev up0
		ip addr add 2001:db8:77::1/64 dev up0 nodad
		ip link set up0 up
		ip route add default via 192.168.77.2
		ip -6 route add default via 2001:db8:77::2`)
	for _, ip := range []string{farLAN, farWeb, farWeb6, lanNet6, "203.0.113.20"} {
		for _, p := range []string{port, "53"} {
			for _, proto := range []string{"tcp", "udp"} {
				if got := far.do(t, "listen", proto, net.JoinHostPort(ip, p)); got != "ok" {
					t.Fatalf("listen on %s %s: %s", ip, p, got)
				}
			}
		}
	}
	quiet(t)
	return far
}

// newClient builds a client behind the host, which forwards for it.
func newClient(t *testing.T) *peer {
	t.Helper()
	client := newPeer(t)
	sh(t, nil, `echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
		echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
		ip link add lan0 type veth peer name cli0`)
	sh(t, nil, fmt.Sprintf("ip link set cli0 netns %d", client.cmd.Process.Pid))
	sh(t, client, `ip link set lo up
		ip addr add 192.168.88.2/24 dev cli0
		ip addr add 2001:db8:88::2/64 dev cli0 nodad
		ip link set cli0 up
		ip route add default via 192.168.88.1
		ip route add default via 2001:db8:88::1`)
	sh(t, nil, `ip addr add 192.168.88.1/24 dev lan0
		ip addr add 2001:db8:88::1/64 dev lan0 nodad
		ip link set lan0 up`)
	if got := client.do(t, "listen", "tcp", clientLAN+":"+port); got != "ok" {
		t.Fatal(got)
	}
	quiet(t)
	return client
}

// quiet waits until the kernel has given all links their addresses, which IPv6 takes some time for.
func quiet(t *testing.T) {
	t.Helper()
	links := strings.Count(sh(t, nil, "ip -o link show type veth"), "\n")
	for range 500 {
		addrs, routes := sh(t, nil, "ip -6 addr"), sh(t, nil, "ip -6 route show table local")
		if !strings.Contains(addrs, "tentative") && strings.Count(addrs, "inet6 fe80") == links &&
			strings.Count(addrs, "inet6") == strings.Count(routes, "local ") {
			return
		}
	}
	t.Fatal("the addresses of IPv6 are not ready")
}

// changing are the parts of a snapshot that change by themselves.
var changing = regexp.MustCompile(`(?m)expires \d+sec|nf_conntrack_count.*|.*/stable_secret.*|handle \d+`)

// snapshot is all that the tunnel could change of a host.
func snapshot(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(sh(t, nil, `ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all
		ip -d link; ip addr; nft list ruleset`))
	err := filepath.WalkDir("/proc/sys/net", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // a device that went meanwhile
		}
		if value, err := os.ReadFile(path); err == nil {
			fmt.Fprintf(&b, "%s = %s\n", path, strings.TrimSpace(string(value)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return changing.ReplaceAllString(b.String(), "")
}

// sameAs compares a snapshot with an earlier one. The order of its lines is the kernel's affair.
func sameAs(t *testing.T, before string) {
	t.Helper()
	was, is := strings.Split(before, "\n"), strings.Split(snapshot(t), "\n")
	slices.Sort(was)
	slices.Sort(is)
	if diff := cmp.Diff(was, is); diff != "" {
		t.Errorf("the host is not as it was (-before +now):\n%s", diff)
	}
}

// options are what most tests apply.
func options() Options {
	return Options{Device: testTUN, DNS: true}
}

// mustApply applies options until the test ends.
func mustApply(t *testing.T, o Options) *Capture {
	t.Helper()
	c, err := Apply(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
