package app

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/wake"
)

// replyNoNetwork is "network unreachable" (RFC 1928, section 6).
const replyNoNetwork = 3

// look has the network look again, with these routes to be found. The channel tells of every look.
func look(c *client, cause wake.Cause, routes ...dialer.Route) <-chan struct{} {
	n, looks := &c.app.network, make(chan struct{}, 100)
	n.mu.Lock()
	n.survey = func(f *fleet) ways {
		looks <- struct{}{}
		found := make(ways)
		for _, host := range f.hosts() {
			found[host] = routes
		}
		return found
	}
	n.mu.Unlock()
	n.look(cause)
	return looks
}

// over is a route over the network with that number.
func over(network byte) dialer.Route {
	return dialer.Route{Source: netip.AddrFrom4([4]byte{192, 0, 2, network})}
}

// await waits until the server has seen something.
func await(t *testing.T, s *outlinetest.Server, what string, seen func(outlinetest.Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Wait(ctx, seen); err != nil {
		t.Fatalf("the server has not seen %s: %v", what, err)
	}
}

// live waits until the server has so many WebSockets.
func live(t *testing.T, s *outlinetest.Server, n int) {
	t.Helper()
	seen := func(now outlinetest.Stats) bool { return now.Live == n }
	await(t, s, fmt.Sprintf("%d WebSockets at a time", n), seen)
}

// startReady is startCarriers with two connections ready for each protocol, and probes of a target.
func startReady(t *testing.T, flag, target string) (*outlinetest.Server, *client) {
	t.Helper()
	s := startServer(t, outlinetest.Config{
		Protocols: outlinetest.HTTP1 | outlinetest.HTTP2 | outlinetest.HTTP3,
	})
	e := strings.NewReplacer(`/tcp"`, "/tcp?"+flag+`"`, `/udp"`, "/udp?"+flag+`"`).Replace(entry(t, s))
	lines := fmt.Sprintf("probe: {enable_udp: false, tcp_target: %q}\nupstreams:\n%s", target, e)
	return s, startClient(t, "127.0.0.1:0", lines)
}

// TestWithoutANetwork shows that nothing is tried then, that new flows are told at once, that it is no fault
// of the upstream, and that everything begins when there is one.
func TestWithoutANetwork(t *testing.T) {
	for _, tt := range everyCarrier {
		t.Run(tt.flag, func(t *testing.T) {
			t.Parallel()
			target, err := outlinetest.StartHTTP("")
			web := startTarget(t, target, err)
			s, c := startReady(t, tt.flag, web.Addr())
			get(t, c, web.Addr())
			c.log.wait(t, "probe passed")
			live(t, s, 4)

			looks := look(c, wake.Network)
			if r := c.app.Report(); !c.app.Offline() || !r.Offline || r.Ready {
				t.Fatalf("offline = %v, ready = %v without a route, want true, false", r.Offline, r.Ready)
			}
			live(t, s, 0)
			before := s.Stats()
			for range 3 { // one at once, and one a second, as probes would be
				<-looks
				if _, code, _ := request(t, c, 1, web.Addr()); code != replyNoNetwork {
					t.Errorf("reply %d, want %d", code, replyNoNetwork)
				}
			}
			now := s.Stats()
			if now.Accepted != before.Accepted || len(now.Requests) != len(before.Requests) {
				t.Error("something was dialled")
			}
			if log := c.log.all(); strings.Contains(log, "upstream failed") ||
				strings.Contains(log, "upstream down") {
				t.Errorf("the upstream is blamed:\n%s", log)
			}

			look(c, wake.Network, over(1))
			if c.app.Offline() {
				t.Error("Offline() = true with a route, want false")
			}
			get(t, c, web.Addr())
			live(t, s, 4)
			await(t, s, "a probe and a flow", func(now outlinetest.Stats) bool {
				return len(now.Targets) >= len(before.Targets)+2
			})
		})
	}
}

// TestAnotherNetwork shows that what lives goes on, and that the rest is replaced.
func TestAnotherNetwork(t *testing.T) {
	for _, flag := range []string{"connect=1", "h2=only", "h3=only"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			target, err := outlinetest.StartEcho("")
			echo := startTarget(t, target, err)
			s, c := startReady(t, flag, closedPort(t))
			look(c, wake.Network, over(1))
			flow := connect(t, c, echo.Addr())
			ask(t, flow, "before")
			for i, cause := range []wake.Cause{wake.Network, wake.Clock} {
				live(t, s, 5)
				opened := s.Stats().Handshakes
				look(c, wake.Network, over(byte(1+i))) // nothing new
				if got := s.Stats().Handshakes; got > opened+1 {
					t.Errorf("%d WebSockets were opened although nothing changed", got-opened)
				}
				look(c, cause, over(2))
				c.log.wait(t, "network changed", "reason="+cause.String())
				await(t, s, "other standby", func(now outlinetest.Stats) bool {
					return now.Handshakes >= opened+4
				})
				ask(t, flow, "after")
			}
		})
	}
}

// TestReloadWithoutANetwork shows that what is new does nothing either.
func TestReloadWithoutANetwork(t *testing.T) {
	s, fresh := startServer(t, outlinetest.Config{}), startServer(t, outlinetest.Config{})
	c := startClient(t, "127.0.0.1:0", standby+"\nupstreams:\n"+entry(t, s))
	live(t, s, 4)
	look(c, wake.Network)
	reload(t, c, "127.0.0.1:0", standby+"\ndns: {servers: [127.0.0.9]}\nupstreams:\n"+entry(t, fresh))
	if _, code, _ := request(t, c, 1, "192.0.2.1:80"); code != replyNoNetwork {
		t.Errorf("reply %d, want %d", code, replyNoNetwork)
	}
	live(t, s, 0)
	if got := fresh.Stats().Accepted; got != 0 {
		t.Errorf("%d connections without a network, want none", got)
	}
	look(c, wake.Network, over(1))
	live(t, fresh, 4)
}

func TestWays(t *testing.T) {
	one, two := []dialer.Route{over(1)}, []dialer.Route{over(2)}
	hosts := []string{"a", "b"}
	for name, tt := range map[string]struct {
		before, now  ways
		differ, none bool
	}{
		"nothing known":         {nil, ways{}, false, false},
		"the same":              {ways{"a": one, "b": two}, ways{"a": one, "b": two}, false, false},
		"another way to one":    {ways{"a": one, "b": two}, ways{"a": one, "b": one}, true, false},
		"no way to one":         {ways{"a": one, "b": two}, ways{"a": nil, "b": two}, true, false},
		"no way to any":         {ways{"a": one, "b": two}, ways{"a": nil, "b": nil}, true, true},
		"no way still":          {ways{"a": nil, "b": nil}, ways{"a": nil, "b": nil}, false, true},
		"a name not looked up":  {ways{"a": one}, ways{"a": nil}, true, false},
		"a name looked up":      {ways{"a": one}, ways{"a": one, "b": two}, false, false},
		"a name of another set": {ways{"c": one}, ways{"a": two, "b": two}, false, false},
	} {
		if got := tt.now.differ(tt.before); got != tt.differ {
			t.Errorf("%s: differ = %v, want %v", name, got, tt.differ)
		}
		if got := tt.now.none(hosts); got != tt.none {
			t.Errorf("%s: none = %v, want %v", name, got, tt.none)
		}
	}
	if (ways{}).none(nil) {
		t.Error("none = true without a server")
	}
}

// A server on loopback is reached without any network.
func TestWaysOfAFleet(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	c := startClient(t, "127.0.0.1:0", "upstreams:\n"+entry(t, s))
	found := c.app.fleet.ways()
	if c.app.Offline() || len(found) != 1 || found.none(c.app.fleet.hosts()) {
		t.Errorf("ways = %v, want one to loopback", found)
	}
	named := strings.ReplaceAll(entry(t, s), "127.0.0.1", "unknown.test")
	reload(t, c, "127.0.0.1:0", "upstreams:\n"+named)
	found = c.app.fleet.ways()
	if _, ok := found[anywhere[0]]; !ok || found.none(c.app.fleet.hosts()) {
		t.Errorf("ways to a name = %v, want those to anywhere", found)
	}
}
