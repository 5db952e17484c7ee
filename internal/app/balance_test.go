package app

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// pair is two servers with the program in front of them, which prefers the first.
type pair struct {
	first, second *outlinetest.Server
	*client
}

// startPair adds lines to the configuration. Probes are off unless they say otherwise.
func startPair(t *testing.T, flag, lines string) *pair {
	t.Helper()
	p := new(pair)
	all := outlinetest.HTTP1 | outlinetest.HTTP2 | outlinetest.HTTP3
	p.first, p.second = startServer(t, outlinetest.Config{Protocols: all}),
		startServer(t, outlinetest.Config{Protocols: all})
	named := func(name string, s *outlinetest.Server) string {
		e := strings.NewReplacer(`/tcp"`, "/tcp?"+flag+`"`, `/udp"`, "/udp?"+flag+`"`).Replace(entry(t, s))
		return strings.Replace(e, "{", "{name: "+name+", ", 1)
	}
	p.client = startClient(t, "127.0.0.1:0",
		lines+"\nupstreams:\n"+named("first", p.first)+named("second", p.second))
	return p
}

// standby has connections ready although nothing is probed.
const standby = "probe: {enable_tcp: false, enable_udp: false}"

// TestFlowsSurviveTheirUpstream shows that no flow is lost to an upstream that fails in whatever way before
// the first byte of an answer, with connections ready and without, on every carrier.
func TestFlowsSurviveTheirUpstream(t *testing.T) {
	target, err := outlinetest.StartHTTP("")
	web := startTarget(t, target, err)
	for name, fault := range map[string]outlinetest.Fault{
		"wrong secret": {Stage: outlinetest.WrongSecret},
		"black hole":   {Stage: outlinetest.Blackhole},
		"frozen":       {Freeze: true},
		"silent TLS":   {Stage: outlinetest.StallTLS},
		"refuses":      {Stage: outlinetest.RefuseTCP},
		"resets":       {Stage: outlinetest.ResetTCP},
		"bad gateway":  {Status: http.StatusBadGateway},
	} {
		for _, flag := range []string{"connect=1", "h2=only", "h3=only"} {
			for ready, lines := range map[string]string{"cold": "", "standby": standby} {
				t.Run(name+"/"+flag+"/"+ready, func(t *testing.T) {
					t.Parallel()
					p := startPair(t, flag, lines+"\nfailover: {silence: 300ms}")
					get(t, p.client, web.Addr())
					if err := p.first.SetFault(fault); err != nil {
						t.Fatal(err)
					}
					for range 5 {
						get(t, p.client, web.Addr())
					}
				})
			}
		}
	}
}

// get fetches the page over a connection of its own.
func get(t *testing.T, c *client, addr string) {
	t.Helper()
	conn := connect(t, c, addr)
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", addr)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(page), outlinetest.PageText) {
		t.Errorf("page = %q, %v", page, err)
	}
}

// TestProbeTargetIsToBlame shows that nothing goes down while flows are answered, although no probe is.
func TestProbeTargetIsToBlame(t *testing.T) {
	lines := fmt.Sprintf("probe: {tcp_target: %q, udp_target: %q}", closedPort(t), closedPort(t))
	p := startPair(t, "connect=1",
		lines+"\nhealthcheck: {interval: 50ms, min_interval: 50ms, max_interval: 50ms}")
	target, err := outlinetest.StartHTTP("")
	web := startTarget(t, target, err)
	get(t, p.client, web.Addr()) // before any probe has ended
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); {
		get(t, p.client, web.Addr())
	}
	p.log.wait(t, "probe failed", "proto=tcp")
	for line := range strings.SplitSeq(p.log.all(), "\n") {
		if strings.Contains(line, "upstream down") && strings.Contains(line, "upstream=first") &&
			strings.Contains(line, "proto=tcp") {
			t.Errorf("a path went down whose flows are answered: %s", line)
		}
	}
}

// TestProbesFindTheFastest shows that flows move to the faster upstream, and away from one that dies, by
// probes alone.
func TestProbesFindTheFastest(t *testing.T) {
	target, err := outlinetest.StartHTTP("")
	web := startTarget(t, target, err)
	p := startPair(t, "h2=only", fmt.Sprintf("probe: {enable_udp: false, tcp_target: %q}\n"+
		"healthcheck: {interval: 100ms, min_interval: 100ms, max_interval: 1s}", web.Addr()))
	p.log.wait(t, "probe passed", "upstream=first")
	p.log.wait(t, "probe passed", "upstream=second")
	if err := p.first.SetFault(outlinetest.Fault{Stage: outlinetest.RefuseTCP}); err != nil {
		t.Fatal(err)
	}
	p.first.CutAll()
	p.log.wait(t, "upstream down", "upstream=first")
	p.log.wait(t, "upstream switched", "upstream=second", "from=first", "reason=down")
	get(t, p.client, web.Addr())
	if err := p.first.SetFault(outlinetest.Fault{}); err != nil {
		t.Fatal(err)
	}
	p.log.wait(t, "upstream up", "upstream=first")
}

// TestAssociationMoves shows that an association goes on over another upstream, with the same port on both
// sides of the client.
func TestAssociationMoves(t *testing.T) {
	for name, fault := range map[string]outlinetest.Fault{
		"black hole": {Stage: outlinetest.Blackhole},
		"frozen":     {Freeze: true},
		"refuses":    {Stage: outlinetest.RefuseTCP},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPair(t, "connect=1", "")
			var addrs []socksaddr.Addr
			for range 2 { // a path is suspected when two targets do not answer
				target, err := outlinetest.StartUDPEcho("")
				addr, err := socksaddr.Parse(startTarget(t, target, err).Addr())
				if err != nil {
					t.Fatal(err)
				}
				addrs = append(addrs, addr)
			}
			_, code, bound := request(t, p.client, 3, "0.0.0.0:0")
			if code != 0 {
				t.Fatalf("UDP ASSOCIATE: reply %d, want 0", code)
			}
			conn, err := net.Dial("udp", bound.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ping(t, conn, addrs)
			if err := p.first.SetFault(fault); err != nil {
				t.Fatal(err)
			}
			if fault.Stage != outlinetest.NoStage {
				p.first.CutAll()
			}
			ping(t, conn, addrs)
		})
	}
}

// ping sends datagrams to all targets by turns until one comes back.
func ping(t *testing.T, conn net.Conn, addrs []socksaddr.Addr) {
	t.Helper()
	in := make([]byte, 1<<10)
	for range int(patience / (100 * time.Millisecond)) {
		for _, addr := range addrs {
			if _, err := conn.Write(append(addr.Append([]byte{0, 0, 0}), "ping"...)); err != nil {
				t.Fatal(err)
			}
		}
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(in); err == nil {
			return
		}
	}
	t.Fatal("no datagram came back")
}

// TestEveryByteArrives has many flows write in small pieces while the first bytes of their answers come: what
// is written at that moment must not get lost, doubled or out of order.
func TestEveryByteArrives(t *testing.T) {
	const (
		flows = 100
		bytes = 40_000
	)
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	for _, flag := range []string{"connect=1", "h2=only", "h3=only"} {
		t.Run(flag, func(t *testing.T) {
			p := startPair(t, flag, standby)
			var running sync.WaitGroup
			for i := range flows {
				conn := connect(t, p.client, echo.Addr())
				running.Go(func() {
					source := outlinetest.Pattern(bytes)
					for piece := make([]byte, 1+i*7); ; {
						n, err := source.Read(piece)
						if _, writeErr := conn.Write(piece[:n]); writeErr != nil {
							t.Errorf("flow %d: %v", i, writeErr)
						}
						if err != nil {
							break
						}
					}
					if err := conn.CloseWrite(); err != nil {
						t.Errorf("flow %d: %v", i, err)
					}
				})
				running.Go(func() { wantPattern(t, conn, bytes) })
			}
			running.Wait()
		})
	}
}
