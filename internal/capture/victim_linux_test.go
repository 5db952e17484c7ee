package capture

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stepVar   = "CAPTURE_DIES_BEFORE" // the step before which a victim kills itself
	wishVar   = "CAPTURE_WISHES"      // the options it applies, in words
	kill      = "kill switch"
	victimIn  = "up"
	randomly  = 20
	longDelay = 100 * time.Millisecond // about what a victim needs to start and to be there
)

// death is a step that is never taken.
type death struct{}

func (death) String() string { return "die" }

func (death) add(*kernel) (bool, error) {
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	select {}
}

func (death) remove(*kernel) error { return nil }

// runVictim is a process that leads traffic to its device until it is killed. It returns only when it cannot.
func runVictim() error {
	if _, err := openDevice(); err != nil {
		return err
	}
	o := victimOptions(os.Getenv(wishVar))
	k, err := openKernel()
	if err != nil {
		return err
	}
	if err := o.place(k); err != nil {
		return err
	}
	steps := Plan(o)
	if at, err := strconv.Atoi(os.Getenv(stepVar)); err == nil {
		steps = slices.Insert(steps, at, Step(death{}))
	}
	if _, err := applySteps(k, o, steps); err != nil {
		return err
	}
	fmt.Println(victimIn)
	select {}
}

func victimOptions(wishes string) Options {
	o := options()
	o.KillSwitch = strings.Contains(wishes, kill)
	o.Forward = strings.Contains(wishes, "forward")
	return o.settled()
}

// newVictim starts one in this namespace. Its settings are NAME=VALUE.
func newVictim(t *testing.T, settings ...string) (victim *exec.Cmd, says *bufio.Reader) {
	t.Helper()
	cmd := role(t, "victim")
	cmd.Env = append(cmd.Env, settings...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out)
}

// killed waits for a victim to be up, and kills it.
func killed(t *testing.T, settings ...string) {
	t.Helper()
	victim, says := newVictim(t, settings...)
	line, _ := says.ReadString('\n')
	if strings.TrimSpace(line) != victimIn {
		t.Errorf("the process says %q", line)
	}
	end(t, victim)
}

// end kills a victim, unless it did so itself.
func end(t *testing.T, victim *exec.Cmd) {
	t.Helper()
	_ = victim.Process.Kill()
	_ = victim.Wait()
	if status, ok := victim.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != unix.SIGKILL {
		t.Errorf("the process ended with %v", victim.ProcessState)
	}
}

// Whatever step it was before, nothing of a process stays that Clean does not find; and without a kill switch
// the host can be used at once.
func TestKilledBeforeEveryStep(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	before := snapshot(t)
	for _, wishes := range []string{"", kill} {
		o := victimOptions(wishes)
		o.Addr4, o.Addr6 = addr4Candidates()[0], DefaultAddr6()
		for at := range len(Plan(o)) + 1 {
			victim, says := newVictim(t, fmt.Sprintf("%s=%d", stepVar, at), wishVar+"="+wishes)
			if line, _ := says.ReadString('\n'); line != "" {
				t.Errorf("the process says %q", line)
			}
			end(t, victim)
			if wishes == "" {
				both(t, farWeb+":"+port, byFar)
			}
			cleaned(t)
		}
	}
	sameAs(t, before)
}

// cleaned runs Clean, after which nothing is ours.
func cleaned(t *testing.T) {
	t.Helper()
	if _, err := Clean(nil); err != nil {
		t.Error(err)
	}
	if s, err := Status(); err != nil || !s.Empty() {
		t.Errorf("Status() after Clean = %+v, %v", s, err)
	}
}

func TestKilledAtRandomMoments(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	before := snapshot(t)
	for range randomly {
		victim, _ := newVictim(t, wishVar+"="+kill)
		<-time.After(rand.N(longDelay))
		end(t, victim)
	}
	cleaned(t)
	sameAs(t, before)
}

func TestWithoutKillSwitchACrashLeavesTheHostUsable(t *testing.T) {
	if !inLab(t) {
		return
	}
	far := newUplink(t)
	before := snapshot(t)
	killed(t)
	for _, host := range []string{farWeb, farLAN, "[" + farWeb6 + "]"} {
		both(t, host+":"+port, byFar)
		both(t, host+":53", byFar)
	}
	inbound(t, far)
	cleaned(t)
	sameAs(t, before)
}

func TestKillSwitch(t *testing.T) {
	if !inLab(t) {
		return
	}
	far := newUplink(t)
	before := snapshot(t)
	killed(t, wishVar+"="+kill)
	held(t, far)

	// A start that fails leaves it in force.
	d := newDevice(t)
	o := options()
	o.KillSwitch, o.Addr4 = true, addr4Candidates()[0]
	failing := o.settled()
	k, err := openKernel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := applySteps(k, failing, slices.Insert(Plan(failing), 9, Step(refused{}))); err == nil {
		t.Error("a step failed, and nobody says so")
	}
	_ = k.close()
	for _, host := range []string{farWeb, "[" + farWeb6 + "]"} {
		probe{proto: "udp", target: host + ":" + port}.want(t, blocked)
	}

	// So does an end that nobody asked for.
	c := mustApply(t, o)
	if !c.WasBlocked() {
		t.Error("a kill switch was in force, and nobody says so")
	}
	if err := c.Leave(); err != nil {
		t.Fatal(err)
	}
	d.close()
	held(t, far)

	// One that succeeds takes over, and ends it.
	d = newDevice(t)
	c = mustApply(t, o)
	for _, target := range []string{farWeb + ":" + port, "[" + farWeb6 + "]:" + port, farLAN + ":53"} {
		both(t, target, byTUN)
	}
	both(t, farLAN+":"+port, byFar)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	both(t, farWeb+":"+port, byFar)
	d.close()
	sameAs(t, before)
}

func TestKillSwitchHoldsForOthers(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	client := newClient(t)
	killed(t, wishVar+"="+kill+", forward")
	for _, proto := range []string{"tcp", "udp"} {
		for target, want := range map[string]string{
			farWeb + ":" + port: blocked,
			farWeb + ":53":      blocked,
			farLAN + ":53":      blocked,
			farLAN + ":" + port: byFar,

			"[" + farWeb6 + "]:" + port: blocked,
		} {
			from := clientLAN
			if strings.HasPrefix(target, "[") {
				from = clientLAN6
			}
			got := client.do(t, "ask", proto, target, from, map[string]string{blocked: silence}[want])
			if got != want && (got != silence || want != blocked) { // the kernel is sparing with such errors
				t.Errorf("the client asks %s %s: answered by %q, want %q", proto, target, got, want)
			}
		}
	}
	cleaned(t)
	if got := client.do(t, "ask", "tcp", farWeb+":"+port); got != byFar {
		t.Errorf("the client is answered by %q when all is taken back", got)
	}
}

// Where a firewall has flushed the guard, the routes still refuse IPv4. IPv6 finds another way, see the
// decision.
func TestKillSwitchWithoutGuard(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	killed(t, wishVar+"="+kill)
	sh(t, nil, "nft flush ruleset")
	both(t, farWeb+":"+port, blocked)
	both(t, farLAN+":53", blocked)
	both(t, farLAN+":"+port, byFar)
	cleaned(t)
	both(t, farWeb+":"+port, byFar)
}

// held checks that a kill switch holds: only neighbours are reached, and who asks from outside is answered.
func held(t *testing.T, far *peer) {
	t.Helper()
	for _, proto := range []string{"tcp", "udp"} {
		for _, p := range []probe{
			{target: farWeb + ":" + port},
			{target: farWeb + ":53"},
			{target: farLAN + ":53"},
			{target: "[" + farWeb6 + "]:" + port},
			{target: "[" + farWeb6 + "]:53"},
			{target: farWeb + ":" + port, from: hostLAN},
			{target: "[" + farWeb6 + "]:" + port, from: hostPublic},
			{target: farWeb + ":" + port, device: uplink},
			{target: "[" + farWeb6 + "]:" + port, device: uplink},
			{target: farLAN + ":53", device: uplink},
		} {
			p.proto = proto
			p.want(t, p.late(blocked))
		}
	}
	both(t, farLAN+":"+port, byFar)
	inbound(t, far)
}
