package capture

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheckRoute(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	newDevice(t)
	mustApply(t, options())
	for _, target := range []string{farWeb, farWeb6, "::ffff:" + farWeb} {
		for mark, want := range map[uint32]string{0: testTUN, DefaultMark: uplink} {
			if got, err := CheckRoute(mark, addr(target)); got != want || err != nil {
				t.Errorf("CheckRoute(%d, %s) = %q, %v, want %q", mark, target, got, err, want)
			}
		}
	}
	sh(t, nil, "ip route del default; ip -6 route del default")
	for _, target := range []string{farWeb, farWeb6} {
		if got, err := CheckRoute(DefaultMark, addr(target)); !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("CheckRoute(%s) without a route = %q, %v, want ENETUNREACH", target, got, err)
		}
	}
}

func TestOneProcessOnly(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	victim, says := newVictim(t)
	if line, _ := says.ReadString('\n'); strings.TrimSpace(line) != victimIn {
		t.Fatalf("the process says %q", line)
	}
	wantState(t, State{Device: testTUN, Running: true, Guard: true})
	if _, err := Clean(nil); !errors.Is(err, ErrRunning) {
		t.Errorf("Clean() = %v, want ErrRunning", err)
	}
	sh(t, nil, "ip tuntap add dev other mode tun")
	o := options()
	o.Device = "other"
	if _, err := Apply(o); !errors.Is(err, ErrRunning) {
		t.Errorf("Apply() = %v, want ErrRunning", err)
	}
	both(t, farWeb+":"+port, byTUN)
	end(t, victim)
	wantState(t, State{})
}

// wantState compares all of it but the numbers, of which there are some.
func wantState(t *testing.T, want State) {
	t.Helper()
	s, err := Status()
	if err != nil || s.Empty() || s.Rules == 0 {
		t.Errorf("Status() = %+v, %v", s, err)
	}
	s.Rules, s.Routes, s.Addresses = 0, 0, 0
	if s != want {
		t.Errorf("Status() = %+v, want %+v", s, want)
	}
}

// A device that stays is left as it was, and what a killed process told the kernel of it is found.
func TestPersistentDevice(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	sh(t, nil, "ip tuntap add dev owtun0 mode tun")
	used := newDevice(t)
	sh(t, nil, "ip link set owtun0 up; ip link set owtun0 down") // which leaves traces
	used.close()
	sh(t, nil, "ip addr add 172.19.0.9/32 dev owtun0")
	before := snapshot(t)
	killed(t)
	if s, err := Status(); err != nil || s.Running || s.Addresses != 2 || s.Device != testTUN {
		t.Errorf("Status() = %+v, %v", s, err)
	}
	d := newDevice(t)
	c := mustApply(t, options())
	both(t, farWeb+":"+port, byTUN)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	d.close()
	cleaned(t)
	sh(t, nil, "ip link set owtun0 down") // up was what the killed one left
	sameAs(t, before)
}

func TestRepair(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	before := snapshot(t)
	d := newDevice(t)
	o := options()
	o.KillSwitch = true
	c := mustApply(t, o)
	if n, err := c.Repair(); n != 0 || err != nil {
		t.Errorf("Repair() of what is whole = %d, %v", n, err)
	}
	for _, harm := range []string{
		"nft flush ruleset",
		"ip rule del pref 9008; ip -6 rule del pref 9004 from ::/1",
		"ip route flush table 20311; ip -6 route flush table 20311",
		"ip link set owtun0 down",
		"ip addr flush dev owtun0",
	} {
		sh(t, nil, harm)
		if n, err := c.Repair(); n == 0 || err != nil {
			t.Errorf("Repair() after %q = %d, %v", harm, n, err)
		}
		if n, err := c.Repair(); n != 0 || err != nil {
			t.Errorf("Repair() once more after %q = %d, %v", harm, n, err)
		}
		both(t, farWeb+":"+port, byTUN)
		both(t, "["+farWeb6+"]:"+port, byTUN)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if n, err := c.Repair(); n != 0 || err != nil {
		t.Errorf("Repair() after Close = %d, %v", n, err)
	}
	d.close()
	sameAs(t, before)
}

// The guard is not to be had everywhere. Who asked for one is refused, and all others do without.
func TestWithoutNetfilter(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	before := snapshot(t)
	d := newDevice(t)
	k, err := openKernel()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.nf.close(); err != nil {
		t.Fatal(err)
	}
	k.nf = nil
	strict := options()
	strict.Strict = true
	if _, err := apply(k, strict.settled()); !errors.Is(err, errNoNetfilter) {
		t.Errorf("apply() of strict options = %v, want %v", err, errNoNetfilter)
	}
	if s, err := k.state(); err != nil || !s.Empty() {
		t.Errorf("left: %+v, %v", s, err)
	}
	var log strings.Builder
	o := options()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	c, err := apply(k, o.settled())
	if err != nil {
		t.Fatal(err)
	}
	both(t, farWeb+":"+port, byTUN)
	if n, err := c.Repair(); n != 0 || err != nil {
		t.Errorf("Repair() = %d, %v", n, err)
	}
	if !strings.Contains(log.String(), "no guard") {
		t.Errorf("the log does not tell: %s", &log)
	}
	d.close() // in the wrong order, which is fine
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	sameAs(t, before)
}

func TestWithoutIPv6(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	sh(t, nil, "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
	newDevice(t)
	c := mustApply(t, options())
	if c.Addr6().IsValid() {
		t.Errorf("the device has %v on a host without IPv6", c.Addr6())
	}
	both(t, farWeb+":"+port, byTUN)
	if got := sh(t, nil, "ip -6 rule"); strings.Contains(got, "proto 79") {
		t.Errorf("rules of IPv6:\n%s", got)
	}

	// It comes, for one device.
	sh(t, nil, `echo 0 >/proc/sys/net/ipv6/conf/up0/disable_ipv6
		ip -6 addr add 2001:db8:77::1/64 dev up0 nodad
		ip -6 route add default via 2001:db8:77::2`)
	both(t, "["+farWeb6+"]:"+port, byFar)
	if n, err := c.Repair(); err != nil {
		t.Errorf("Repair() = %d, %v", n, err)
	}
	both(t, "["+farWeb6+"]:"+port, byTUN)
}

func TestAddressInUse(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	sh(t, nil, "ip addr add 172.19.0.1/16 dev up0") // as a bridge of containers would have it
	newDevice(t)
	c := mustApply(t, options())
	if want := addr4Candidates()[1]; c.Addr4() != want {
		t.Errorf("the device has %v, want %v", c.Addr4(), want)
	}
	both(t, farWeb+":"+port, byTUN)
}

func TestApplyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no device":      {Options{}, "want a name"},
		"a long name":    {Options{Device: strings.Repeat("x", 16)}, "want a name"},
		"no such device": {Options{Device: "nosuch0"}, "device nosuch0"},
		"wrong family":   {Options{Device: "x", Addr4: DefaultAddr6()}, "want an IPv4 one"},
		"the other way":  {Options{Device: "x", Addr6: addr4Candidates()[0]}, "want an IPv6 one"},
		"everything": {
			Options{Device: "x", Exclude: []netip.Prefix{netip.MustParsePrefix("::/0")}},
			"leave nothing",
		},
		"nothing":   {Options{Device: "x", Exclude: []netip.Prefix{{}}}, "leave nothing"},
		"backwards": {Options{Device: "x", ExcludeUIDs: []UIDRange{{2, 1}}}, "2-1"},
	} {
		if _, err := Apply(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Apply() = %v, want %q", name, err, c.want)
		}
	}
}

func TestFreeAddr4(t *testing.T) {
	var taken []netip.Prefix
	for i, want := range addr4Candidates() {
		got, err := freeAddr4(taken)
		if got != want || err != nil {
			t.Errorf("freeAddr4(%v) = %v, %v, want %v", taken, got, err, want)
		}
		taken = append(taken, netip.PrefixFrom(want.Addr(), 24+i%2).Masked())
	}
	if got, err := freeAddr4(taken); err == nil {
		t.Errorf("freeAddr4(%v) = %v, want an error", taken, got)
	}
}

func FuzzMessages(f *testing.F) {
	c := conn{}
	f.Add(c.frame(message{unix.RTM_NEWRULE, 0, Rule{Family: IPv4, IIF: "lo", Table: table}.wire()}))
	f.Add(append(c.frame(message{1, 2, attr(3)}), c.frame(message{4, 5, nil})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range split(b) {
			_ = refusal(m)
			_ = numberOf(m.body, routeFixed, unix.FRA_PROTOCOL)
			_ = addrIn(m.body, addrFixed, unix.IFA_ADDRESS)
			n := 0
			for _, v := range attrs(m.body) {
				n += attrLen + len(v)
			}
			if n > len(m.body) {
				t.Fatalf("%d bytes of attributes in %d", n, len(m.body))
			}
		}
	})
}

func TestFrameAndSplit(t *testing.T) {
	c := conn{seq: 7}
	sent := []message{{1, 2, attrString(3, "name")}, {4, 5, []byte("odd")}, {6, 7, nil}}
	var wire []byte
	for _, m := range sent {
		wire = append(wire, c.frame(m)...)
	}
	if got := split(wire); fmt.Sprint(got) != fmt.Sprint(sent) {
		t.Errorf("split(frames of %v) = %v", sent, got)
	}
}
