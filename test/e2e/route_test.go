//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Without a way to its upstreams the program must not find one through its own tunnel.
func TestDefaultRouteLost(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	serve(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	sh(t, nil, "ip route del default; ip -6 route del default")
	p.says(t, "no network")
	o.onWire(t)
	packets := onDevice(t)
	var took []time.Duration
	for i := range 20 {
		host := []string{web4, "[" + web6 + "]"}[i/2%2]
		q := question{proto: []string{"tcp", "udp"}[i%2], target: host + ":" + whoPort}
		began := time.Now()
		if got := q.answer(t.Context(), patience); got != refused && got != blocked {
			t.Errorf("%+v: answered %s", q, got)
		}
		took = append(took, time.Since(began))
	}
	pause(t, time.Second)
	slices.Sort(took)
	more := onDevice(t) - packets
	t.Logf("20 questions: %d packets on the device, refused after %v, at most %v", more, took[10], took[19])
	if more > 100 {
		t.Errorf("%d packets on the device: a loop", more)
	}
	if took[10] > 10*time.Millisecond {
		t.Errorf("refused after %v, want 10ms", took[10])
	}
	o.wantOnWire(t, "default route lost", upstream4) // the server repeats itself
	both(t, lan+":"+whoPort, direct)
	sh(t, nil, "ip route add default via 192.168.77.2; ip -6 route add default via 2001:db8:77::2")
	back := question{proto: "tcp", target: web4 + ":" + whoPort}.eventually(t, tunnel, 10*time.Second)
	t.Logf("flows go through %v after the route is back", back)
	p.stop(t)
	sameAs(t, before)
}

// onDevice counts the packets that tun0 has seen.
func onDevice(t *testing.T) (packets int) {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "tun0:"); ok {
			var n [10]int
			_, _ = fmt.Sscan(rest, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9])
			return n[1] + n[9]
		}
	}
	t.Fatal("no tun0")
	return 0
}

// A neighbour that hands out routes, CVE-2024-3661, takes nothing out of the tunnel; a firewall that lets
// nothing in does not stop it.
func TestRogueRoutesAndFirewall(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	sh(t, nil, `nft -f - <<'.'
table inet firewall {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		iif lo accept
		icmpv6 type 133-137 accept
	}
}
.`)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	sh(t, nil, "ip route add 0.0.0.0/1 via 192.168.77.2; ip route add 203.0.113.10/32 via 192.168.77.2")
	sh(t, nil, "ip -6 route add 2001:db8:1::/48 via 2001:db8:77::2")
	o.onWire(t)
	for range 3 {
		both(t, web4+":"+whoPort, tunnel)
		both(t, "["+web6+"]:"+whoPort, tunnel)
	}
	digs(t, lan, "+notcp")
	o.wantOnWire(t, "rogue routes", upstream4)
	sh(t, nil, "ip route del 0.0.0.0/1; ip route del 203.0.113.10/32; ip -6 route del 2001:db8:1::/48")
	p.stop(t)
	sameAs(t, before)
}

// The user's own device, routes and rules stay the user's.
func TestManualWay(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	sh(t, nil, `for f in all up0; do echo 2 >/proc/sys/net/ipv4/conf/$f/rp_filter; done
		ip tuntap add dev tun0 mode tun
		echo 2 >/proc/sys/net/ipv4/conf/tun0/rp_filter
		ip addr add 10.10.0.1/24 dev tun0
		ip -6 addr add fd00:10::1/64 dev tun0 nodad
		ip link set tun0 up
		ip route add default via 192.168.77.2 dev up0 table 100
		ip rule add fwmark 123 lookup 100
		ip route add 0.0.0.0/1 dev tun0
		ip route add 128.0.0.0/1 dev tun0
		ip -6 route add 2000::/3 dev tun0`)
	quiet(t)
	before := ""
	config := "fwmark: 123\n" + o.config(t, `{device: "tun0", mtu: 1500}`, "four")
	for range 2 {
		p := startTunnel(t, config)
		o.onWire(t)
		both(t, web4+":"+whoPort, tunnel)
		both(t, "["+web6+"]:"+whoPort, tunnel)
		question{proto: "tcp", target: web4 + ":1"}.want(t, refused)
		both(t, lan+":"+whoPort, direct)
		digs(t, names4, "+notcp")
		o.wantOnWire(t, "the manual way", upstream4, lanTCP, lanUDP)
		p.stop(t)
		if before == "" {
			before = snapshot(t) // of a device that has had a carrier once, and has none now
		}
	}
	if got := sh(t, nil, "ip -d link show tun0"); !strings.Contains(got, "persist on") {
		t.Errorf("the user's device is %q", got)
	}
	sameAs(t, before)

	sh(t, nil, "ip rule del fwmark 123")
	p := start(t, config)
	p.says(t, "the way to an upstream leads into the tunnel itself")
	p.says(t, "ip rule add fwmark 123 lookup")
	packets := onDevice(t)
	for range 5 {
		both(t, web4+":"+whoPort, refused)
	}
	pause(t, time.Second)
	if more := onDevice(t) - packets; more > 200 {
		t.Errorf("%d packets on the device: a loop", more)
	}
	p.stop(t)
}

// The user's own device, and the program's routes and mark.
func TestRoutesForTheUsersDevice(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	sh(t, nil, "ip tuntap add dev tun0 mode tun")
	before := ""
	for range 2 {
		p := startTunnel(t, "fwmark: 77\n"+o.config(t, "{enable: true, auto_route: true, mtu: 1400}", "four"))
		o.onWire(t)
		both(t, web4+":"+whoPort, tunnel)
		both(t, "["+web6+"]:"+whoPort, tunnel)
		o.wantOnWire(t, "the user's device", upstream4)
		p.stop(t)
		if before == "" {
			before = snapshot(t)
		}
	}
	sameAs(t, before)
}

// A device in another namespace is the whole network of whoever is there.
func TestAnotherNamespace(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	sh(t, nil, "mount -t tmpfs tmpfs /run; mkdir /run/netns; ip netns add jail; ip -n jail link set lo up")
	before := snapshot(t)
	p := start(t, o.config(t, "{enable: true, netns: jail}", "four"))
	p.says(t, "full tunnel")
	sh(t, nil, `ip -n jail addr add 10.9.0.1/24 dev tun0
		ip -n jail -6 addr add fd00:9::1/64 dev tun0 nodad
		ip -n jail link set tun0 up
		ip -n jail route add default dev tun0
		ip -n jail -6 route add default dev tun0`)
	o.onWire(t)
	for _, url := range []string{"http://" + web4, "http://[" + web6 + "]"} {
		got := seen(sh(t, nil, "ip netns exec jail curl -sS -m 10 --retry 5 --retry-all-errors "+url))
		if got != tunnel {
			t.Errorf("curl %s: seen %s", url, got)
		}
	}
	both(t, web4+":"+whoPort, direct) // this machine itself is left alone
	o.wantOnWire(t, "another namespace", upstream4, "tcp "+web4+":"+whoPort, "udp "+web4+":"+whoPort)
	p.stop(t)
	sameAs(t, before)
}
