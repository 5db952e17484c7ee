//go:build e2e && linux

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Addresses of the machine and of the LAN.
const (
	hostLAN = "192.168.77.1"
	host6   = "2001:db8:77::1"
	lan     = "192.168.77.2"
	lan6    = "2001:db8:77::2"
)

// newMachine makes this namespace a machine with an uplink. Its name server is the neighbour's.
func newMachine(t *testing.T) *outside {
	t.Helper()
	o := newOutside(t)
	sh(t, nil, `mount --make-rprivate /
		ip link set lo up
		for f in all default; do echo 1 >/proc/sys/net/ipv4/conf/$f/rp_filter; done
		echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
		ip link add up0 type veth peer name far0`)
	sh(t, nil, fmt.Sprintf("ip link set far0 netns %d", o.cmd.Process.Pid))
	sh(t, o, `ip link set lo up
		echo 0 >/proc/sys/net/ipv6/conf/far0/accept_dad
		ip addr add 192.168.77.2/24 dev far0
		ip addr add 2001:db8:77::2/64 dev far0 nodad
		ip link set far0 up
		ip route add 172.19.0.0/16 via 192.168.77.1
		ip route add 192.168.88.0/24 via 192.168.77.1`)
	for _, a := range farAddrs() {
		sh(t, o, "ip addr add "+a+" dev lo nodad 2>/dev/null || ip addr add "+a+" dev lo")
	}
	sh(t, nil, `ip addr add 192.168.77.1/24 dev up0
		ip addr add 2001:db8:77::1/64 dev up0 nodad
		ip link set up0 up
		ip route add default via 192.168.77.2
		ip -6 route add default via 2001:db8:77::2`)
	quiet(t)
	useResolver(t, "nameserver "+lan+"\n")
	o.must(t, order{Do: "open"})
	return o
}

// useResolver is resolv.conf of this machine alone.
func useResolver(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	sh(t, nil, "mount --bind "+path+" /etc/resolv.conf")
	t.Cleanup(func() { _ = unix.Unmount("/etc/resolv.conf", unix.MNT_DETACH) })
}

// sh runs commands of a shell, on the machine or outside, and returns what they print.
func sh(t *testing.T, where *outside, script string) string {
	t.Helper()
	out, err := try(t, where, script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// try is sh for commands that may fail.
func try(t *testing.T, where *outside, script string) (string, error) {
	t.Helper()
	args := []string{"sh", "-ec", script}
	if where != nil {
		args = append([]string{"nsenter", "-n", "-t", fmt.Sprint(where.cmd.Process.Pid)}, args...)
	}
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

// quiet waits until the kernel has given all devices their addresses, which IPv6 takes some time for.
func quiet(t *testing.T) {
	t.Helper()
	for range 100 {
		addrs, links := sh(t, nil, "ip -6 addr"), sh(t, nil, "ip link show up")
		routes := strings.Count(sh(t, nil, "ip -6 route show table local"), "local ")
		own := strings.Count(addrs, "inet6 fe80:")
		if !strings.Contains(addrs, "tentative") && own == strings.Count(links, "link/ether") &&
			strings.Count(addrs, "inet6 ") == routes {
			return
		}
		pause(t, 20*time.Millisecond)
	}
	t.Fatal("the addresses of IPv6 are not ready")
}

// changing are the parts of a snapshot that change by themselves.
var changing = regexp.MustCompile(`(?m)expires \d+sec|nf_conntrack_count.*|.*/stable_secret.*|handle \d+|` +
	` linkdown|NO-CARRIER,`)

// snapshot is all that the tunnel could change of a machine.
func snapshot(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(sh(t, nil, `exec 2>/dev/null # ip complains of peers whose namespaces have ended
		ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all
		ip -d link; ip addr; nft list ruleset; cat /etc/resolv.conf`))
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

// sameAs compares the machine with an earlier snapshot. The order of its lines is the kernel's affair.
func sameAs(t *testing.T, before string) {
	t.Helper()
	was, is := strings.Split(before, "\n"), strings.Split(snapshot(t), "\n")
	slices.Sort(was)
	slices.Sort(is)
	if diff := cmp.Diff(was, is); diff != "" {
		t.Errorf("the machine is not as it was (-before +now):\n%s", diff)
	}
}
