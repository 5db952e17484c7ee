package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnits has systemd say what it thinks of the units, with every drop-in.
func TestUnits(t *testing.T) {
	need(t, "systemd-analyze")
	for _, dropIns := range [][]string{
		{},
		{"secrets.conf"},
		{"fwmark.conf"},
		{"tun.conf"},
		{"secrets.conf", "fwmark.conf"},
		{"secrets.conf", "fwmark.conf", "tun.conf"},
	} {
		t.Run(strings.Join(dropIns, " "), func(t *testing.T) {
			root := t.TempDir()
			units := filepath.Join(root, "etc/systemd/system")
			for _, program := range []string{"usr/local/bin/outline-cli-ws", "bin/kill"} {
				write(t, filepath.Join(root, program), "any program")
				if err := os.Chmod(filepath.Join(root, program), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, unit := range []string{service, socket} {
				copyFile(t, repository+"/deploy/systemd/"+unit, filepath.Join(units, unit))
			}
			for _, conf := range dropIns {
				copyFile(t, repository+"/deploy/systemd/"+conf, filepath.Join(units, service+".d", conf))
			}
			for _, unit := range []string{
				"sysinit.target", "basic.target", "sockets.target", "shutdown.target",
				"network-online.target", "nss-lookup.target", "multi-user.target",
			} {
				write(t, filepath.Join(units, unit), "[Unit]\nDescription=as it is everywhere\n")
			}
			analyze(t, "verify", "--root="+root, "--man=no", service, socket)
			analyze(t, "security", "--root="+root, "--offline=yes", "--threshold=20", service)
		})
	}
}

// analyze wants success and silence of systemd-analyze verify, and success of the others.
func analyze(t *testing.T, args ...string) {
	t.Helper()
	output, err := exec.Command("systemd-analyze", args...).CombinedOutput()
	if err != nil || (args[0] == "verify" && len(output) > 0) {
		t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}
