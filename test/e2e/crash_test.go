//go:build e2e && linux

package e2e

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

const crashes = 20

func TestKilledAtRandomMoments(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	began := time.Now()
	measured := startTunnel(t, o.config(t, "{enable: true, kill_switch: true}", "four"))
	usual := time.Since(began)
	measured.stop(t)
	sameAs(t, before)
	for i := range crashes {
		tun := []string{"{enable: true, kill_switch: true}", "{enable: true}"}[i%2]
		p := start(t, o.config(t, tun, "four"))
		pause(t, rand.N(usual))
		if i%4 > 1 { // on its way out
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			pause(t, rand.N(usual/8))
		}
		p.kill(t)
	}
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	if got := sh(t, nil, "$"+programVar+" tun status"); !strings.Contains(got, "up: traffic goes to tun0") {
		t.Errorf("tun status says %q", got)
	}
	p.stop(t)
	sameAs(t, before)
}

// Without a kill switch a crash leaves a machine that works, past the tunnel.
func TestCrashWithoutKillSwitch(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	serve(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	p.kill(t)
	for _, host := range []string{web4, "[" + web6 + "]", lan} {
		both(t, host+":"+whoPort, direct)
	}
	o.reachable(t)
	got, _ := try(t, nil, "$"+programVar+" tun status")
	if !strings.Contains(got, "left behind by a process that was killed") {
		t.Errorf("tun status says %q", got)
	}
	t.Log(sh(t, nil, "$"+programVar+" tun down"))
	sameAs(t, before)
	if got, err := try(t, nil, "$"+programVar+" tun status"); err == nil || !strings.HasPrefix(got, "down:") {
		t.Errorf("tun status says %q, %v", got, err)
	}
}

// With one it is shut until the program runs again, or the user says otherwise.
func TestCrashWithKillSwitch(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	serve(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true, kill_switch: true}", "four"))
	p.kill(t)
	for _, target := range []string{
		web4 + ":" + whoPort, "[" + web6 + "]:" + whoPort, names4 + ":53", lan + ":53",
	} {
		both(t, target, blocked)
	}
	question{proto: "udp", target: web4 + ":" + whoPort, device: "up0"}.want(t, blocked)
	question{proto: "tcp", target: web4 + ":" + whoPort, from: hostLAN}.want(t, blocked)
	o.reachable(t)
	got, _ := try(t, nil, "$"+programVar+" tun status")
	if !strings.HasPrefix(got, "blocked: the kill switch") {
		t.Errorf("tun status says %q", got)
	}
	other := start(t, o.config(t, "{enable: true, netns: /proc/self/ns/net}", "four"))
	other.says(t, "full tunnel")
	both(t, web4+":"+whoPort, blocked) // whose business the kill switch is not
	other.stop(t)
	p = startTunnel(t, o.config(t, "{enable: true, kill_switch: true}", "four"))
	p.kill(t)
	sh(t, nil, "$"+programVar+" tun down")
	both(t, web4+":"+whoPort, direct)
	sameAs(t, before)
}

// A start that is refused leaves a kill switch that was in force, and none that was not.
func TestRefusedStart(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	config := o.config(t, "{enable: true, kill_switch: true}", "four")
	refuse := func(then string) {
		t.Helper()
		sh(t, nil, "ip rule add pref 100 lookup 20311") // stronger than the mark
		p := start(t, config)
		p.says(t, "leads into the tunnel itself")
		<-p.ended
		sh(t, nil, "ip rule del pref 100")
		both(t, web4+":"+whoPort, then)
		both(t, "["+web6+"]:"+whoPort, then)
	}
	before := snapshot(t)
	refuse(direct)
	sameAs(t, before)
	p := startTunnel(t, config)
	p.kill(t)
	refuse(blocked)
	startTunnel(t, config).stop(t)
	sameAs(t, before)
}
