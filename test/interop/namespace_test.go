//go:build interop

package interop

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// namespaceVariable is set in the environment of the test binary that runs inside the namespace.
const namespaceVariable = "INTEROP_NAMESPACE"

// namespaceTimeout bounds a test inside.
const namespaceTimeout = 3 * time.Minute

// publicHosts look like public addresses to a server that refuses private and loopback targets: RFC 2544 and
// RFC 5180 set them aside for measurements.
var publicHosts = []netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:2::1")}

// TestPublicTargets runs testPublicTargets in a network namespace of its own, where it owns publicHosts.
func TestPublicTargets(t *testing.T) {
	var owned []string
	for _, host := range publicHosts {
		owned = append(owned, "address add "+host.String()+" dev lo")
	}
	inNamespace(t, testPublicTargets, owned...)
}

// inNamespace runs test in a network namespace of its own, which has lo and what the commands of ip make: the
// test binary runs the calling test once more inside.
func inNamespace(t *testing.T, test func(t *testing.T), commands ...string) {
	t.Helper()
	if os.Getenv(namespaceVariable) != "" {
		test(t)
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
	t.Cleanup(func() { deleteNamespace(t, name) })
	for _, command := range append([]string{"link set lo up"}, commands...) {
		MustRun(t, nil, "ip", append([]string{"-n", name}, strings.Fields(command)...)...)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(namespaceVariable, name)
	inside := []string{
		"netns", "exec", name, self, "-test.run=^" + t.Name() + "$", "-test.v", "-test.parallel=8",
	}
	result := runFor(t, namespaceTimeout, nil, "ip", inside...)
	t.Logf("%s", result.Output)
	if result.Code != 0 {
		t.Errorf("the test in the namespace ended with status %d: %s", result.Code, result.Messages)
	}
}

func deleteNamespace(t *testing.T, name string) {
	t.Helper()
	if text, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
		t.Errorf("delete the namespace: %v: %s", err, text)
	}
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
