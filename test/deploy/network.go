package deploy

import (
	"os"
	"os/exec"
	"testing"
)

// networkVariable is set in the environment of the test binary that runs in a network of its own.
const networkVariable = "DEPLOY_NETWORK"

// inNetwork runs test in a network namespace that has lo alone: the test binary runs the calling test once
// more inside.
func inNetwork(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Getenv(networkVariable) != "" {
		if output, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("set lo up: %v: %s", err, output)
		}
		test(t)
		return
	}
	need(t, "ip", "unshare")
	if os.Getuid() != 0 {
		skip(t, "namespaces need root")
	}
	if output, err := exec.Command("unshare", "--net", "true").CombinedOutput(); err != nil {
		skip(t, "cannot make a network namespace: "+string(output))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--net", self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), networkVariable+"=1")
	output, err := cmd.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Errorf("the test in the namespace: %v", err)
	}
}
