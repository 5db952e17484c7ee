//go:build e2e && linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestStrict(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	serve(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true, strict: true}", "four"))
	o.onWire(t)
	for _, proto := range []string{"tcp", "udp"} {
		for _, q := range []question{
			{target: web4 + ":" + whoPort, from: hostLAN},
			{target: web4 + ":" + whoPort, device: "up0"},
			{target: "[" + web6 + "]:" + whoPort, from: host6},
			{target: names4 + ":53", device: "up0"},
			{target: lan + ":53", device: "up0"},
		} {
			q.proto = proto
			q.want(t, blocked)
		}
	}
	both(t, web4+":"+whoPort, tunnel)
	o.reachable(t)
	o.wantOnWire(t, "strict", withNeighbours(upstream4)...)
	p.stop(t)
	sameAs(t, before)
}

// A connection from before goes on as it was, such as a login elsewhere, but not under a strict guard: that
// one takes it for a client's only if the other side is the first to send.
func TestConnectionFromBefore(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	for tun, goesOn := range map[string]bool{"{enable: true}": true, "{enable: true, strict: true}": false} {
		c, err := openFlow(t, web4+":"+whoPort) // which is seen directly
		if c == nil {
			t.Fatal(err)
		}
		pause(t, 100*time.Millisecond) // all is acknowledged
		p := startTunnel(t, o.config(t, tun, "four"))
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		if err := say(c, "still here"); (err == nil) != goesOn {
			t.Errorf("%s: on a connection from before: %v", tun, err)
		}
		p.stop(t)
		_ = c.Close()
	}
}

func TestExcluded(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	tun := `{enable: true, exclude: [203.0.113.16/28, "` + web6 + `", "2001:db8:77::/64"], ` +
		"exclude_uids: 4321}"
	p := startTunnel(t, o.config(t, tun, "four"))
	both(t, "["+lan6+"]:"+whoPort, direct)
	both(t, "203.0.113.20:"+whoPort, direct)
	both(t, "["+web6+"]:"+whoPort, direct)
	both(t, web4+":"+whoPort, tunnel)
	curl := "curl -sS -m 10 http://" + web4
	if got := seen(sh(t, nil, "setpriv --reuid=4321 --clear-groups "+curl)); got != direct {
		t.Errorf("an excluded user is seen %s", got)
	}
	if got := seen(sh(t, nil, "setpriv --reuid=4322 --clear-groups "+curl)); got != tunnel {
		t.Errorf("another user is seen %s", got)
	}
	got := sh(t, nil, "setpriv --reuid=4321 --clear-groups dig +short +tries=1 TXT who.test @"+names4)
	if !strings.Contains(got, names4) {
		t.Errorf("an excluded user's query to %s is answered by %s", names4, got)
	}
	p.stop(t)
	sameAs(t, before)
}

// A client behind the machine, as behind a router.
func TestForward(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	serve(t)
	client := newOutside(t)
	sh(t, nil, `echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
		ip link add lan0 type veth peer name cli0`)
	sh(t, nil, fmt.Sprintf("ip link set cli0 netns %d", client.cmd.Process.Pid))
	sh(t, client, `ip link set lo up
		ip addr add 192.168.88.2/24 dev cli0
		ip addr add fd00:88::2/64 dev cli0 nodad
		ip link set cli0 up
		ip route add default via 192.168.88.1
		ip -6 route add default via fd00:88::1`)
	sh(t, nil, `ip addr add 192.168.88.1/24 dev lan0
		ip addr add fd00:88::1/64 dev lan0 nodad
		ip link set lan0 up`)
	quiet(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true, forward: true}", "four"))
	o.onWire(t)
	asks := func(target, want string) {
		t.Helper()
		for _, proto := range []string{"tcp", "udp"} {
			r := client.must(t, order{Do: "ask", Proto: proto, Target: target})
			if r.Answer != want {
				t.Errorf("the client asks %s %s: answered %s, want %s", proto, target, r.Answer, want)
			}
		}
	}
	asks(web4+":"+whoPort, tunnel)
	asks("["+web6+"]:"+whoPort, tunnel)
	got := sh(t, client, "dig +short +tries=1 TXT who.test @"+names4)
	if !strings.Contains(got, "1.1.1.1") && !strings.Contains(got, "9.9.9.9") {
		t.Errorf("the client's query is answered by %s", got)
	}
	o.wantOnWire(t, "a client behind the machine", upstream4)
	o.reachable(t)
	o.onWire(t)
	p.stop(t)
	sameAs(t, before)
}

func TestUpstreamOverIPv6(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	serve(t)
	before := snapshot(t)
	o.onWire(t)
	p := startTunnel(t, o.config(t, "{enable: true, kill_switch: true}", "six"))
	r := o.beRestless(t)
	pause(t, time.Second)
	both(t, web4+":"+whoPort, tunnel)
	both(t, "["+web6+"]:"+whoPort, tunnel)
	o.reachable(t)
	o.wantOnWire(t, "an upstream over IPv6", withNeighbours(upstream6)...)
	p.kill(t)
	pause(t, time.Second)
	r.end()
	o.wantOnWire(t, "killed", withNeighbours(upstream6)...)
	p = startTunnel(t, o.config(t, "{enable: true, kill_switch: true}", "six"))
	p.stop(t)
	sameAs(t, before)
}

// An upstream that is given by name must be found without the tunnel that needs it: at first, and again.
func TestUpstreamByName(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	o.onWire(t)
	p := startTunnel(t, o.config(t, "{enable: true, kill_switch: true}", "four by name"))
	o.fails(t, outlinetest.RefuseTCP)
	question{proto: "tcp", target: web4 + ":" + whoPort}.eventually(t, refused, 10*time.Second)
	pause(t, 3*time.Second)
	o.fails(t, outlinetest.NoStage)
	took := question{proto: "tcp", target: web4 + ":" + whoPort}.eventually(t, tunnel, 30*time.Second)
	t.Logf("flows go through %v after the upstream is back", took)
	digs(t, lan, "+notcp")
	p.kill(t) // and what it knew is gone
	p = startTunnel(t, o.config(t, "{enable: true, kill_switch: true}", "four by name"))
	o.wantOnWire(t, "an upstream by name", upstream4, "udp "+lan+":53")
	p.stop(t)
	sameAs(t, before)
}

// Where resolv.conf names a local service, its own servers are asked: the service's queries carry no mark.
func TestUpstreamByNameOfLocalResolver(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	sh(t, nil, "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/resolve")
	write(t, "/run/systemd/resolve/resolv.conf", "nameserver "+lan+"\n")
	useResolver(t, "nameserver 127.0.0.53\n")
	before := snapshot(t)
	o.onWire(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four by name"))
	o.wantOnWire(t, "a local resolver", upstream4, "udp "+lan+":53")
	p.stop(t)
	sameAs(t, before)
}

// openDevice has every user open /dev/net/tun, as distributions do.
func openDevice(t *testing.T) {
	t.Helper()
	node := filepath.Join(t.TempDir(), "tun")
	sh(t, nil, "mknod -m 666 "+node+" c 10 200; mount --bind "+node+" /dev/net/tun")
	t.Cleanup(func() { _ = unix.Unmount("/dev/net/tun", unix.MNT_DETACH) })
}

// nobody is a command that runs another as a user with some capabilities.
func nobody(capabilities ...string) []string {
	only := strings.Join(append([]string{"-all"}, capabilities...), ",")
	return []string{
		"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=" + only,
		"--inh-caps=" + only, "--ambient-caps=" + only,
	}
}

// CAP_NET_ADMIN is all that it takes; without it the program says what to do.
func TestCapability(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	openDevice(t)
	before := snapshot(t)
	config := o.config(t, "{enable: true, kill_switch: true}", "four")
	p := startTunnel(t, config, nobody("+net_admin")...)
	both(t, web4+":"+whoPort, tunnel)
	p.stop(t)
	sameAs(t, before)

	p = start(t, config, nobody()...)
	p.says(t, "CAP_NET_ADMIN")
	<-p.ended
	if p.cmd.ProcessState.ExitCode() == 0 {
		t.Error("a program without rights ended well")
	}
	t.Logf("%s", p.log)
	sameAs(t, before)
}
