package capture

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refused is a step that fails.
type refused struct{}

var errRefused = errors.New("refused")

func (refused) String() string            { return "be refused" }
func (refused) add(*kernel) (bool, error) { return false, errRefused }
func (refused) remove(*kernel) error      { return nil }

func TestStrictRefusesBoundSockets(t *testing.T) {
	if !inLab(t) {
		return
	}
	far := newUplink(t)
	newDevice(t)
	bound := []probe{
		{target: farWeb + ":" + port, from: hostLAN},
		{target: farWeb + ":" + port, device: uplink},
		{target: "[" + farWeb6 + "]:" + port, from: hostPublic},
		{target: "[" + farWeb6 + "]:" + port, device: uplink},
	}
	ask := func(list []probe, want string) {
		t.Helper()
		for _, proto := range []string{"tcp", "udp"} {
			for _, p := range list {
				p.proto = proto
				p.want(t, p.late(want))
			}
		}
	}

	c := mustApply(t, options())
	ask(bound, byFar)
	ask([]probe{{target: farWeb + ":53", device: uplink}, {target: farLAN + ":53", from: hostLAN}}, blocked)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	o := options()
	o.Strict = true
	mustApply(t, o)
	ask(bound, blocked)
	ask([]probe{{target: farWeb + ":" + port}, {target: "[" + farWeb6 + "]:" + port}}, byTUN)
	ask([]probe{{target: farWeb + ":53", mark: DefaultMark}}, byFar)
	ask([]probe{{target: farLAN + ":" + port, device: uplink}}, byFar)
	inbound(t, far)
}

func TestExcludedNetworks(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	before := snapshot(t)
	d := newDevice(t)
	for _, strict := range []string{"", "strict"} {
		o := options()
		o.Strict = strict != ""
		o.Exclude = []netip.Prefix{
			netip.PrefixFrom(addr(farWeb), 29), // with host bits, as users write it
			netip.PrefixFrom(addr(farWeb6), 128),
			netip.MustParsePrefix("224.0.0.0/4"),
		}
		c := mustApply(t, o)
		for _, host := range []string{farWeb, "[" + farWeb6 + "]"} {
			both(t, host+":"+port, byFar)
			both(t, host+":53", byFar)
		}
		both(t, "203.0.113.20:"+port, byTUN)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d.close()
	sameAs(t, before)
}

func TestExcludedUsers(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	newDevice(t)
	o := options()
	o.Strict = true
	o.ExcludeUIDs = []UIDRange{{4000, 4000}, {5000, 5009}}
	mustApply(t, o)
	for uid, want := range map[int]string{4000: byFar, 4001: byTUN, 5005: byFar, 5010: byTUN, 0: byTUN} {
		t.Logf("user %d", uid)
		for _, target := range []string{farWeb + ":" + port, "[" + farWeb6 + "]:" + port, farWeb + ":53"} {
			asUser(t, uid, func() { both(t, target, want) })
		}
	}
}

// asUser runs f with sockets that belong to a user. A socket takes the file system's user id of its thread.
// The thread must live on: with it, processes that it started would get the signal of their parent's death.
func asUser(t *testing.T, uid int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i, id := range []int{uid, 0} {
		if _, err := unix.SetfsuidRetUid(id); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			f()
		}
	}
}

// A neighbour that answers DHCP can set routes, CVE-2024-3661.
func TestRoguesRoutesAreNotTaken(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	newDevice(t)
	sh(t, nil, `ip route add 0.0.0.0/1 via 192.168.77.2; ip route add 128.0.0.0/1 via 192.168.77.2
		ip route add 203.0.113.0/24 via 192.168.77.2; ip -6 route add 2000::/3 via 2001:db8:77::2`)
	mustApply(t, options())
	both(t, farWeb+":"+port, byTUN)
	both(t, "["+farWeb6+"]:"+port, byTUN)
	both(t, farWeb+":53", byTUN)
}

func TestNoLoopWithoutADefaultRoute(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	d := newDevice(t)
	mustApply(t, options())
	sh(t, nil, "ip route del default; ip -6 route del default")
	seen := d.packets.Load()
	for _, target := range []string{farWeb + ":" + port, "[" + farWeb6 + "]:" + port, farWeb + ":53"} {
		for _, proto := range []string{"tcp", "udp"} {
			start := time.Now()
			probe{proto: proto, target: target, mark: DefaultMark}.want(t, noRoute)
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s %s: refused after %v", proto, target, took)
			}
		}
	}
	if now := d.packets.Load(); now != seen {
		t.Errorf("%d packets of our own came to the device", now-seen)
	}
	both(t, farWeb+":"+port, byTUN)
}

func TestForwarding(t *testing.T) {
	if !inLab(t) {
		return
	}
	far := newUplink(t)
	client := newClient(t)
	sh(t, nil, `nft -f - <<END
		table ip nat {
			chain prerouting {
				type nat hook prerouting priority -100
				iifname up0 tcp dport 8080 dnat to 192.168.88.2:7000
			}
		}
END`)
	before := snapshot(t)
	d := newDevice(t)
	asks := func(want string, targets ...string) {
		t.Helper()
		for _, target := range targets {
			for _, proto := range []string{"tcp", "udp"} {
				if got := client.do(t, "ask", proto, target); got != want {
					t.Errorf("the client asks %s %s: answered by %q, want %q", proto, target, got, want)
				}
			}
		}
	}
	published := func(want string) {
		t.Helper()
		for _, target := range []string{hostLAN + ":8080", clientLAN + ":" + port} {
			if got := far.do(t, "ask", "tcp", target, farWeb, want); got != want {
				t.Errorf("the far end asks %s: answered by %q, want %q", target, got, want)
			}
		}
	}

	for _, strict := range []string{"", "strict"} {
		o := options()
		o.Strict = strict != ""
		c := mustApply(t, o)
		asks(byFar, farWeb+":"+port, farWeb+":53", farLAN+":"+port, "["+farWeb6+"]:"+port)
		published(byFar)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		o.Forward = true
		c = mustApply(t, o)
		asks(byTUN, farWeb+":"+port, farWeb+":53", farLAN+":53", "["+farWeb6+"]:"+port, "["+farWeb6+"]:53")
		asks(byFar, farLAN+":"+port)
		published(silence) // the strict check of reverse paths does not see the mark
		sh(t, nil, "echo 2 >/proc/sys/net/ipv4/conf/up0/rp_filter")
		published(byFar)
		sh(t, nil, "echo 1 >/proc/sys/net/ipv4/conf/up0/rp_filter")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d.close()
	sameAs(t, before)
}

func TestAFailedStepTakesEverythingBack(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	d := newDevice(t)
	sh(t, nil, "ip link set owtun0 up; ip link set owtun0 down") // which leaves traces
	before := snapshot(t)
	o := options()
	o.KillSwitch, o.Forward = true, true
	o = o.settled()
	k, err := openKernel()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.place(k); err != nil {
		t.Fatal(err)
	}
	for at := range len(Plan(o)) {
		_, err := applySteps(k, o, slices.Insert(Plan(o), at+1, Step(refused{})))
		if !errors.Is(err, errRefused) {
			t.Errorf("step %d: %v", at, err)
		}
		if s, err := k.state(); err != nil || !s.Empty() {
			t.Errorf("left after step %d: %+v, %v", at, s, err)
		}
	}
	_ = k.close()
	sameAs(t, before)
	d.close()
}

// Some lists of networks that need no tunnel are long.
func TestManyExcludedNetworks(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	before := snapshot(t)
	d := newDevice(t)
	o := options()
	o.Strict = true
	for i := range 4000 {
		o.Exclude = append(o.Exclude,
			netip.PrefixFrom(netip.AddrFrom4([4]byte{30 + byte(i>>8), byte(i), 0, 0}), 17),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0x24, byte(i >> 8), byte(i)}), 32))
	}
	for _, network := range []string{farWeb + "/32", "203.0.113.11/32", farWeb + "/31", farWeb6 + "/128"} {
		o.Exclude = append(o.Exclude, netip.MustParsePrefix(network))
	}
	start := time.Now()
	c := mustApply(t, o)
	t.Logf("applied in %v", time.Since(start))
	for _, host := range []string{farWeb, "[" + farWeb6 + "]"} {
		both(t, host+":"+port, byFar)
		both(t, host+":53", byFar)
	}
	both(t, "203.0.113.20:"+port, byTUN)
	start = time.Now()
	if err := c.Update(options()); err != nil {
		t.Error(err)
	}
	t.Logf("updated in %v", time.Since(start))
	both(t, farWeb+":"+port, byTUN)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	d.close()
	sameAs(t, before)
}
