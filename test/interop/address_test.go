//go:build interop

package interop

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// carriages are all that a URL can ask for, and what Caddy makes of it.
var carriages = []carriage{{"", "1"}, {"h2=only", "2"}, {"h3=only", "3"}, {"h3=1", "3"}}

// onEveryCarriage runs test with a server for each way to reach it.
func onEveryCarriage(t *testing.T, host netip.Addr, test func(t *testing.T, server *Server, want carriage)) {
	t.Helper()
	for _, carriage := range carriages {
		t.Run("carrier "+carriage.flags, func(t *testing.T) {
			server := StartWholeServer(t, host, Ciphers[0], programs.StartCaddy)
			server.Query = carriage.flags
			test(t, server, carriage)
		})
	}
}

// TestIPv6Literal names the server by its IPv6 address, on a machine that has no IPv4.
func TestIPv6Literal(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		host := netip.IPv6Loopback()
		onEveryCarriage(t, host, func(t *testing.T, server *Server, want carriage) {
			if prefix := "wss://[::1]:"; !strings.HasPrefix(server.StreamURL(), prefix) {
				t.Fatalf("the URL does not begin with %s", prefix)
			}
			client := programs.StartClient(t, host, server)
			testTransfers(t, host, client)
			testDatagrams(t, host, client)
			wantRequests(t, server, Request{Version: want.version})
		})
	}, "address delete 127.0.0.1/8 dev lo")
}

// A black hole: packets to blackhole leave by a link at whose other end nobody has the address to which they
// go, so that nobody answers, nor says that nobody does.
const (
	blackhole     = "2001:db8::2"
	blackholeLink = "hole"
)

// TestBlackholedIPv6 names the server by a name whose IPv6 address swallows everything. An attempt on that
// address alone would take until dial_timeout.
func TestBlackholedIPv6(t *testing.T) {
	inNamespace(t, testBlackholedIPv6,
		"link add "+blackholeLink+" type veth peer name deep",
		"link set "+blackholeLink+" up",
		"link set deep up",
		"address add 2001:db8::1/64 dev "+blackholeLink+" nodad",
		"address add 192.0.2.1/24 dev "+blackholeLink, // or ss-server takes this for a machine without IPv4
		"neighbour add "+blackhole+" lladdr 02:00:00:00:00:02 dev "+blackholeLink+" nud permanent")
}

func testBlackholedIPv6(t *testing.T) {
	// longest is 300 ms and what a busy machine may add.
	const longest = 1500 * time.Millisecond
	const four, both = "four" + TestDomain, "both" + TestDomain
	host := Loopback[0]
	names := StartZone(t, host, Zone{four: {host}, both: {netip.MustParseAddr(blackhole), host}})
	echo := StartTCP(t, host, func(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) })
	onEveryCarriage(t, host, func(t *testing.T, server *Server, want carriage) {
		server.Names = names
		took := make(map[string]time.Duration)
		for _, name := range []string{four, both} {
			server.Name = name
			client := programs.StartClient(t, host, server)
			before := sentInto(t, blackholeLink)
			began := time.Now()
			openFlow(t, client, echo)
			took[name] = time.Since(began)
			if tried := sentInto(t, blackholeLink) > before; name == both && !tried {
				t.Error("nothing was sent to the IPv6 address: the test proves nothing")
			}
		}
		t.Logf("the first flow took %v over IPv4 alone, %v more beside a black hole",
			took[four].Round(time.Millisecond), (took[both] - took[four]).Round(time.Millisecond))
		if took[both] > longest {
			t.Errorf("the first flow took %v beside a black hole, want %v at most", took[both], longest)
		}
		wantRequests(t, server, Request{Version: want.version})
	})
}

// sentInto is how many bytes left by a link. /sys is that of the namespace (ip-netns(8)).
func sentInto(t *testing.T, link string) int {
	t.Helper()
	text, err := os.ReadFile("/sys/class/net/" + link + "/statistics/tx_bytes")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestQueryOnEveryCarrier has flags among other parameters. The server must see those alone, byte for byte
// and in their order.
func TestQueryOnEveryCarrier(t *testing.T) {
	const before, after = "z=1&a=%2f%2F+~", "a=*&&empty=&bare&h2o=1"
	host := Loopback[0]
	onEveryCarriage(t, host, func(t *testing.T, server *Server, want carriage) {
		rest := before + "&" + after
		server.Query = rest
		if want.flags != "" {
			server.Query = before + "&" + want.flags + "&" + after
		}
		client := programs.StartClient(t, host, server)
		testTransfers(t, host, client)
		testDatagrams(t, host, client)
		wantRequests(t, server, Request{want.version, rest})
	})
}
