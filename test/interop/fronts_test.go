//go:build interop

package interop

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// carriage is what a front makes of the flags of a URL.
type carriage struct {
	flags   string
	version string // of HTTP, in which the flows arrive
}

// fronts returns the fronts with extended CONNECT, and how the client reaches each: when it must use one
// carrier, and when it may.
func fronts() []frontCase {
	var (
		onlyHTTP2 = []carriage{{"h2=only", "2"}}
		tryHTTP2  = []carriage{{"h2=1", "2"}, {"h3=1", "2"}}
		only      = []carriage{{"h2=only", "2"}, {"h3=only", "3"}}
		try       = []carriage{{"h2=1", "2"}, {"h3=1", "3"}}
	)
	return []frontCase{
		{"caddy", programs.StartCaddy, only, try},
		{"nghttpx", StartNghttpx, onlyHTTP2, tryHTTP2},
		{"haproxy", StartHAProxy, onlyHTTP2, tryHTTP2},
		{"node", StartNode, onlyHTTP2, tryHTTP2},
	}
}

type frontCase struct {
	name      string
	start     StartFront
	only, try []carriage
}

// TestFrontFlows sends every kind of flow over shared connections with every front, on a carrier that the
// client must use.
func TestFrontFlows(t *testing.T) {
	for _, front := range fronts() {
		for _, carriage := range front.only {
			t.Run(front.name+"/"+carriage.flags, func(t *testing.T) {
				onEveryHost(t, func(t *testing.T, host netip.Addr) {
					testFront(t, host, front.start, carriage)
				})
			})
		}
	}
}

// TestFrontChoice lets the client choose: it has to choose the best that the front speaks.
func TestFrontChoice(t *testing.T) {
	for _, front := range fronts() {
		for _, carriage := range front.try {
			t.Run(front.name+"/"+carriage.flags, func(t *testing.T) {
				testFront(t, Loopback[0], front.start, carriage)
			})
		}
	}
}

// otherQuery is what is no flag in a query, and must arrive byte for byte.
const otherQuery = "token=a%2Fb+c&empty="

// testFront runs all kinds of flows one after the other on one client.
func testFront(t *testing.T, host netip.Addr, start StartFront, want carriage) {
	t.Helper()
	server := StartWholeServer(t, host, Ciphers[0], start)
	server.Query = want.flags + "&" + otherQuery
	client := programs.StartClient(t, host, server)
	flows := 0
	for _, kind := range []struct {
		name  string
		flows int
		test  func(t *testing.T, host netip.Addr, client Client)
	}{
		{"down and up", 2, testTransfers},
		{"dig", 1, testDig}, // and one over UDP
		{"udp", 0, testDatagrams},
		{"client ends first", 1, testClientEndsFirst},
		{"target ends first", 1, testTargetEndsFirst},
		{"many at once", manyFlows, testSharedFlows},
	} {
		t.Run(kind.name, func(t *testing.T) { kind.test(t, host, client) })
		flows += kind.flows
	}
	wantCleanEnds(t, server, flows)
	t.Run("cut", func(t *testing.T) { testCut(t, host, server, client) })
	wantRequests(t, server, Request{want.version, otherQuery})
	wantNoSecret(t, client, server)
}

// wantRequests checks that all requests reached the bridge as want says.
func wantRequests(t *testing.T, server *Server, want Request) {
	t.Helper()
	seen := make(map[Request]int)
	for _, request := range server.Bridge.Requests() {
		seen[request]++
	}
	if len(seen) != 1 || seen[want] == 0 {
		t.Errorf("requests at the bridge = %v, want all %v", seen, want)
	}
}

func testTransfers(t *testing.T, host netip.Addr, client Client) {
	t.Helper()
	web := StartWeb(t, host)
	download(t, web, "--socks5", client.SOCKS)
	upload(t, web, "--socks5", client.SOCKS)
}

func testDatagrams(t *testing.T, host netip.Addr, client Client) {
	t.Helper()
	data := Bulk()[:1<<20]
	got := echoDatagrams(t, client, netip.MustParseAddrPort(StartEcho(t, host)), data)
	if SHA256(got) != SHA256(data) {
		t.Error("echo differs from what was sent")
	}
}

// manyFlows is more than one connection should carry, and as many as some servers allow on one.
const manyFlows = 100

// testSharedFlows has many flows open at once and counts the files of the client meanwhile: with a connection
// for each flow they would be two for each.
func testSharedFlows(t *testing.T, host netip.Addr, client Client) {
	t.Helper()
	const connections = 16 // with the server, of whatever protocol
	most := openFiles(t, client) + manyFlows + connections
	var arrived atomic.Int64
	all := make(chan struct{}) // closed when all flows are open
	echo := StartTCP(t, host, func(conn *net.TCPConn) {
		if arrived.Add(1) == manyFlows {
			if files, err := client.OpenFiles(); err != nil || files > most {
				t.Errorf("%d files open with %d flows (%v), want %d at most", files, manyFlows, err, most)
			}
			close(all)
		}
		select {
		case <-all:
			_, _ = io.Copy(conn, conn)
		case <-time.After(startTimeout):
			t.Errorf("%d of %d flows arrived within %v", arrived.Load(), manyFlows, startTimeout)
		}
	})
	payload := Bulk()[:64<<10]
	var running sync.WaitGroup
	for i := range manyFlows {
		running.Go(func() {
			if err := echoOnce(t.Context(), client, echo, payload); err != nil {
				t.Errorf("flow %d: %v", i, err)
			}
		})
	}
	running.Wait()
}
