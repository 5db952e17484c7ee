//go:build e2e && linux

package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// Who flushes what is not theirs does not end the tunnel.
func TestRulesRemovedByOthers(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true, strict: true}", "four"))
	for _, harm := range []string{
		"nft flush ruleset; ip link set up0 mtu 1490",
		"for i in 1 2 3 4 5 6 7 8 9; do ip rule del prio 9008; ip -6 rule del prio 9008; break; done",
		"ip route flush table 20311; ip -6 route flush table 20311",
		"ip addr flush dev tun0",
		"ip link set tun0 down",
	} {
		t.Log(harm)
		sh(t, nil, harm)
		for _, host := range []string{web4, "[" + web6 + "]"} {
			for _, proto := range []string{"tcp", "udp"} {
				q := question{proto: proto, target: host + ":" + whoPort}
				if took := q.eventually(t, tunnel, 5*time.Second); took > time.Second {
					t.Logf("%+v: tunnel again after %v", q, took)
				}
			}
		}
	}
	question{proto: "udp", target: web4 + ":" + whoPort, device: "up0"}.eventually(t, blocked, 5*time.Second)
	sh(t, nil, "ip link set up0 mtu 1500")
	p.stop(t)
	sameAs(t, before)
}

// Without its device the program cannot go on, and leaves nothing.
func TestDeviceRemoved(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	sh(t, nil, "ip link del tun0")
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the program goes on without its device")
	}
	if code := p.cmd.ProcessState.ExitCode(); code == 0 {
		t.Error("the program ended well")
	}
	sameAs(t, before)
	both(t, web4+":"+whoPort, direct)
}

// A kill switch makes no difference between a crash and an end that nobody asked for.
func TestDeviceRemovedWithKillSwitch(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	serve(t)
	before := snapshot(t)
	config := o.config(t, "{enable: true, kill_switch: true}", "four")
	p := startTunnel(t, config)
	sh(t, nil, "ip link del tun0")
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the program goes on without its device")
	}
	for _, target := range []string{web4 + ":" + whoPort, "[" + web6 + "]:" + whoPort, names4 + ":53"} {
		both(t, target, blocked)
	}
	o.reachable(t)
	p = startTunnel(t, config)
	both(t, web4+":"+whoPort, tunnel)
	p.stop(t)
	sameAs(t, before)
}

// A second program finds that there is one, and does no harm.
func TestTwoPrograms(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	for _, tun := range []string{"{enable: true, device: tun7}", "{enable: true}"} {
		second := start(t, o.config(t, tun, "four"))
		select {
		case <-second.ended:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: a second program runs:\n%s", tun, second.log)
		}
		if second.cmd.ProcessState.ExitCode() == 0 {
			t.Errorf("%s: the second program ended well", tun)
		}
		both(t, web4+":"+whoPort, tunnel)
		both(t, "["+web6+"]:"+whoPort, tunnel)
		lines := strings.Split(strings.TrimSpace(second.log.String()), "\n")
		t.Logf("%s: %s", tun, lines[len(lines)-1])
	}
	p.stop(t)
	sameAs(t, before)
}

func TestMachineWithoutIPv6(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	sh(t, nil, "for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done")
	before := snapshot(t)
	o.onWire(t)
	p := startTunnel(t, o.config(t, "{enable: true, kill_switch: true}", "four"))
	both(t, web4+":"+whoPort, tunnel)
	six := question{proto: "tcp", target: "[" + web6 + "]:" + whoPort}
	if got := six.answer(t.Context(), patience); got == direct {
		t.Errorf("%+v: answered %s", six, got)
	}
	o.wantOnWire(t, "without IPv6", upstream4)
	p.stop(t)
	sameAs(t, before)
}

// At boot there may be no network yet; nor name servers, of whom a local service learns later.
func TestStartWithoutNetwork(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	sh(t, nil, "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/resolve")
	useResolver(t, "nameserver 127.0.0.53\n")
	sh(t, nil, "ip link set up0 down")
	p := start(t, o.config(t, "{enable: true, kill_switch: true}", "four by name"))
	p.says(t, "full tunnel")
	question{proto: "tcp", target: web4 + ":" + whoPort}.want(t, refused)
	write(t, "/run/systemd/resolve/resolv.conf", "nameserver "+lan+"\n")
	sh(t, nil, `ip link set up0 up
		ip addr replace 2001:db8:77::1/64 dev up0 nodad
		ip route add default via 192.168.77.2
		ip -6 route add default via 2001:db8:77::2`)
	took := question{proto: "tcp", target: web4 + ":" + whoPort}.eventually(t, tunnel, 20*time.Second)
	t.Logf("flows go through %v after the network came", took)
	o.wantOnWire(t, "start without network", upstream4, "udp "+lan+":53")
	p.stop(t)
}

// Options of the tunnel come into force with a reload, and nothing leaks meanwhile.
func TestReloadedOptions(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	o.onWire(t)
	c, err := openFlow(t, web4+":"+whoPort)
	if err != nil {
		t.Fatal(err)
	}
	r := o.beRestless(t)
	p.hup(t, o.config(t, "{enable: true, exclude: 203.0.113.20, strict: true, udp443: block}", "four"))
	both(t, "203.0.113.20:"+whoPort, direct)
	question{proto: "udp", target: web4 + ":" + whoPort, device: "up0"}.want(t, blocked)
	question{proto: "udp", target: web4 + ":443"}.want(t, refused)
	o.wantOnWire(t, "reloaded", upstream4, "tcp 203.0.113.20:"+whoPort, "udp 203.0.113.20:"+whoPort)
	p.hup(t, o.config(t, "{enable: true}", "four"))
	both(t, "203.0.113.20:"+whoPort, tunnel)
	if err := say(c, "still here"); err != nil {
		t.Errorf("a flow from before: %v", err)
	}
	r.end()
	o.wantOnWire(t, "reloaded again", upstream4, "tcp 203.0.113.20:"+whoPort)
	p.stop(t)
	sameAs(t, before)
}

// SOCKS5 and the tunnel together.
func TestBesideSOCKS5(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}\nlisten: {socks5: \"127.0.0.1:1080\"}", "four"))
	for _, way := range []string{"-x socks5h://127.0.0.1:1080 ", ""} {
		if got := seen(sh(t, nil, "curl -sS -m 10 "+way+"http://"+web4)); got != tunnel {
			t.Errorf("curl %s: seen %s", way, got)
		}
	}
	if _, err := os.Stat("/proc/sys/net/ipv4/conf/tun0"); err != nil {
		t.Error(err)
	}
	p.stop(t)
	sameAs(t, before)
}

// IPv6 may be on for the uplink alone, and it may come later.
func TestIPv6OfTheUplinkAlone(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	openDevice(t)
	const off = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"
	const on = `echo 0 >/proc/sys/net/ipv6/conf/up0/disable_ipv6
		ip -6 addr replace 2001:db8:77::1/64 dev up0 nodad
		ip -6 route replace default via 2001:db8:77::2`
	sh(t, nil, off)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	sh(t, nil, on)
	six := question{proto: "tcp", target: "[" + web6 + "]:" + whoPort}
	t.Logf("captured %v after IPv6 came", six.eventually(t, tunnel, 5*time.Second))
	o.onWire(t)
	both(t, six.target, tunnel)
	o.wantOnWire(t, "IPv6 came", upstream4)
	p.stop(t)

	p = startTunnel(t, o.config(t, "{enable: true}", "four"), nobody("+net_admin")...)
	o.onWire(t)
	both(t, six.target, tunnel)
	o.wantOnWire(t, "IPv6 of the uplink alone", upstream4)
	p.stop(t)
}
