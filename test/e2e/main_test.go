//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	roleVar    = "E2E_ROLE"    // what a process started by the tests is
	programVar = "E2E_PROGRAM" // path of the program under test
	requireVar = "E2E_REQUIRE" // set: a suite that cannot run has failed
	raceVar    = "E2E_RACE"    // set: the program has the race detector, and fails when that found something
)

// TestMain is also the processes that the tests start.
func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "outside":
		runOutside(os.Stdin, os.Stdout)
		return
	case "machine":
		os.Exit(m.Run())
	}
	if reason := unable(); reason != "" {
		fmt.Println("e2e skipped:", reason)
		if os.Getenv(requireVar) != "" {
			os.Exit(1)
		}
		return
	}
	os.Exit(buildAndRun(m))
}

// unable says what is missing.
func unable() string {
	if os.Geteuid() != 0 {
		return "needs root, for network namespaces"
	}
	for _, name := range []string{"ip", "nft", "nsenter", "setpriv", "curl", "dig", "ping", "iperf3"} {
		if _, err := exec.LookPath(name); err != nil {
			return "needs " + name + "; test/e2e/setup.sh installs what is missing"
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return "needs a TUN device: " + err.Error()
	}
	return ""
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	_ = os.Chmod(dir, 0o755) // another user runs the program too
	path := filepath.Join(dir, "outline-cli-ws")
	flags, cgo := []string{"build", "-o", path}, "CGO_ENABLED=0"
	if os.Getenv(raceVar) != "" {
		flags, cgo = append(flags, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(context.Background(), "go", append(flags, "../../cmd/outline-cli-ws")...)
	cmd.Env = append(os.Environ(), cgo)
	if text, err := cmd.CombinedOutput(); err != nil {
		fmt.Printf("go build: %v\n%s", err, text)
		return 1
	}
	_ = os.Setenv(programVar, path)
	return m.Run()
}

// onMachine runs the calling test in namespaces of its own. It reports true in the process that is there, and
// false when there is nothing left to do.
func onMachine(t *testing.T) bool {
	t.Helper()
	if os.Getenv(roleVar) == "machine" {
		return true
	}
	t.Parallel()
	cmd := role(t, "machine", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=150s")
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, unix.EPERM):
		t.Skip("may make no network namespace")
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
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
