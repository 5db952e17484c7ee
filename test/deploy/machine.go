package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// patience bounds everything that a test waits for.
	patience = 30 * time.Second
	// pause is between two looks at something that is to change.
	pause = 50 * time.Millisecond
)

// Machine is a systemd of its own, on the files of this machine and the network of the test.
type Machine struct {
	Share string // a folder here that is /mnt there

	init int // process id of its systemd
}

// StartMachine boots a machine that ends with the test. All that it writes is gone then, but for what is
// in the folders kept.
func StartMachine(t *testing.T, kept ...string) *Machine {
	t.Helper()
	share := t.TempDir()
	script, err := filepath.Abs("machine.sh")
	if err != nil {
		t.Fatal(err)
	}
	groups := controlGroups(t)
	// The shell is in the groups before unshare makes them the root of what the machine sees.
	const start = `for group in $GROUPS_OF_MACHINE; do echo $$ >"$group/cgroup.procs"; done; exec "$@"`
	cmd := exec.Command("sh", append([]string{
		"-euc", start, "sh",
		"unshare", "--pid", "--mount", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child",
		script, share, t.TempDir(),
	}, kept...)...)
	cmd.Env = append(os.Environ(), "GROUPS_OF_MACHINE="+strings.Join(groups, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and its child with it
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("machine:\n%s", output.String())
		}
	})
	m := &Machine{Share: share}
	within(t, "boot", func() error { return m.booted(cmd.Process.Pid) })
	return m
}

// booted fails until the child of unshare is a systemd that answers.
func (m *Machine) booted(unshare int) error {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", unshare))
	if err != nil {
		return err
	}
	if m.init, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
		return err
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", m.init))
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(name)); got != "systemd" {
		return fmt.Errorf("it runs %s", got)
	}
	_, err = m.try("systemctl is-active machine.target")
	return err
}

// Run runs commands of the shell in the machine, in /mnt, and wants all of them to succeed.
func (m *Machine) Run(t *testing.T, script string) string {
	t.Helper()
	output, err := m.try(script)
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, output)
	}
	return output
}

func (m *Machine) try(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	output, err := m.Command(ctx, "sh", "-euc", "cd /mnt\n"+script).CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

// Command is a program that runs in the machine.
func (m *Machine) Command(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(m.init), "--mount", "--pid", "--ipc", "--uts"}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// Property is what systemctl show says of a unit.
func (m *Machine) Property(t *testing.T, unit, name string) string {
	t.Helper()
	return m.Run(t, "systemctl show --value --property "+name+" "+unit)
}

// WaitProperty waits until a property begins with want.
func (m *Machine) WaitProperty(t *testing.T, unit, name, want string) {
	t.Helper()
	within(t, unit+" "+name, func() error {
		if got := m.Property(t, unit, name); !strings.HasPrefix(got, want) {
			return fmt.Errorf("it is %q, want %q", got, want)
		}
		return nil
	})
}

// controlGroups makes a group in each hierarchy that systemd uses.
func controlGroups(t *testing.T) (groups []string) {
	t.Helper()
	const root = "/sys/fs/cgroup"
	hierarchies := []string{root}
	if _, err := os.Stat(root + "/cgroup.controllers"); errors.Is(err, fs.ErrNotExist) {
		hierarchies = []string{root + "/systemd"} // version 1
	}
	for _, hierarchy := range hierarchies {
		group := fmt.Sprintf("%s/outline-machine-%d", hierarchy, os.Getpid())
		if err := os.Mkdir(group, 0o755); err != nil {
			skip(t, "cannot make a control group: "+err.Error())
		}
		t.Cleanup(func() { removeGroup(t, group) })
		groups = append(groups, group)
	}
	return groups
}

// removeGroup removes a control group and those in it, which must be empty: children first.
func removeGroup(t *testing.T, group string) {
	var folders []string
	_ = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	for i := len(folders) - 1; i >= 0; i-- {
		within(t, "remove "+folders[i], func() error { return os.Remove(folders[i]) })
	}
}

// within waits until check succeeds.
func within(t *testing.T, what string, check func() error) {
	t.Helper()
	withinTime(t, patience, what, check)
}

func withinTime(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(pause)
	}
}

// skip ends a test that this machine cannot run, and fails it where all of them have to run.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("DEPLOY_REQUIRE") == "1" {
		t.Fatalf("DEPLOY_REQUIRE=1: %s", reason)
	}
	t.Skip(reason)
}

// need skips the test when a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			skip(t, program+" is not installed; setup.sh installs it")
		}
	}
}
