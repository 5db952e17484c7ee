//go:build interop

package interop

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
)

// namespaceVariable is set in the environment of the test binary that runs inside the namespace.
const namespaceVariable = "INTEROP_NAMESPACE"

// publicHosts look like public addresses to a server that refuses private and loopback targets: RFC 2544 and
// RFC 5180 set them aside for measurements.
var publicHosts = []netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:2::1")}

// TestPublicTargets runs testPublicTargets in a network namespace of its own, where it owns publicHosts.
func TestPublicTargets(t *testing.T) {
	if os.Getenv(namespaceVariable) != "" {
		testPublicTargets(t)
		return
	}
	Require(t, "ip")
	if os.Getuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	name := fmt.Sprintf("interop-%d", os.Getpid())
	if result := Run(t, nil, "ip", "netns", "add", name); result.Code != 0 {
		skip(t, "cannot make a network namespace: "+result.Messages)
	}
	t.Cleanup(func() {
		if text, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
			t.Errorf("delete the namespace: %v: %s", err, text)
		}
	})
	MustRun(t, nil, "ip", "-n", name, "link", "set", "lo", "up")
	for _, host := range publicHosts {
		MustRun(t, nil, "ip", "-n", name, "address", "add", host.String(), "dev", "lo")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(namespaceVariable, name)
	inside := []string{"netns", "exec", name, self, "-test.run=^TestPublicTargets$", "-test.v"}
	t.Logf("%s", MustRun(t, nil, "ip", inside...))
}

func testPublicTargets(t *testing.T) {
	loopback := Loopback[0]
	server := programs.StartServer(t, loopback, Ciphers[0])
	client := programs.StartClient(t, loopback, server)
	for _, host := range publicHosts {
		t.Run(host.String(), func(t *testing.T) {
			testCurl(t, client, StartWeb(t, host))
			udp, _ := StartDNS(t, host)
			local := StartForwarder(t, loopback, client.SOCKS, netip.MustParseAddrPort(udp))
			wantAnswer(t, "udp", MustRun(t, nil, "dig", digArgs(local, "+notcp", "+time=5", "+tries=3")...))
		})
	}
}
