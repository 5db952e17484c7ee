package app

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// reload puts a configuration into force.
func reload(t *testing.T, c *client, listen, rest string) {
	t.Helper()
	if err := c.app.Reload(load(t, listen, rest)); err != nil {
		t.Fatal(err)
	}
}

// TestReloadDisturbsNothing reloads a hundred times under a download, an upload and an association, on every
// carrier, with other weights, limits and probes each time.
func TestReloadDisturbsNothing(t *testing.T) {
	for _, flag := range []string{"connect=1", "h2=only", "h3=only"} {
		t.Run(flag, func(t *testing.T) {
			s, c := startCarriers(t, flag)
			flagged := strings.NewReplacer(`/tcp"`, "/tcp?"+flag+`"`, `/udp"`, "/udp?"+flag+`"`)
			e := flagged.Replace(entry(t, s))
			target, err := outlinetest.StartHTTP("")
			web := startTarget(t, target, err)
			target, err = outlinetest.StartUDPEcho("")
			echo := startTarget(t, target, err)
			var flows sync.WaitGroup
			flows.Go(func() { download(t, c, web.Addr()) })
			flows.Go(func() { upload(t, c, web.Addr()) })
			flows.Go(func() { datagrams(t, c, echo.Addr(), 1<<20) })
			first := c.app.fleet.units[0]
			for i := range 100 {
				weighed := strings.Replace(e, "{tcp", fmt.Sprintf("{weight: %d, tcp", i+1), 1)
				reload(t, c, "127.0.0.1:0", fmt.Sprintf("relay: {idle_timeout: %dh}\n"+
					"probe: {enable_tcp: false, enable_udp: false}\nselection: {min_switch: %dms}\n"+
					"upstreams:\n%s", i+1, i+1, weighed))
			}
			flows.Wait()
			if c.app.fleet.units[0] != first {
				t.Error("an upstream that did not change was made anew")
			}
			if got := c.app.fleet.members(c.app.config)[0].Weight; got != 100 {
				t.Errorf("weight = %v, want 100", got)
			}
		})
	}
}

// TestReloadReplacesUpstreams shows that new flows go over what is new, and old ones on to their end over
// what is not in the file any more.
func TestReloadReplacesUpstreams(t *testing.T) {
	old, fresh := startServer(t, outlinetest.Config{}), startServer(t, outlinetest.Config{})
	c := startClient(t, "127.0.0.1:0", "upstreams:\n"+entry(t, old))
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	flow := connect(t, c, echo.Addr())
	ask(t, flow, "before")
	reload(t, c, "127.0.0.1:0", "upstreams:\n"+entry(t, fresh))
	ask(t, flow, "afterwards")
	seen := old.Stats().Accepted
	ask(t, connect(t, c, echo.Addr()), "another")
	if old.Stats().Accepted != seen || fresh.Stats().Accepted == 0 {
		t.Error("a new flow went over the upstream that was taken out")
	}
	if err := flow.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, flow); err != nil {
		t.Errorf("end of the old flow = %v", err)
	}
	idle(t, old)
}

// TestReloadKeepsWhatWasLearnt shows that an upstream that is made anew with other limits is no stranger.
func TestReloadKeepsWhatWasLearnt(t *testing.T) {
	rest := "probe: {enable_tcp: false, enable_udp: false}\nupstreams:\n" +
		entry(t, startServer(t, outlinetest.Config{}))
	c := startClient(t, "127.0.0.1:0", rest)
	before := c.app.fleet.units[0]
	before.stream.Health.Success(time.Now(), 42*time.Millisecond)
	before.packet.Health.Success(time.Now(), 43*time.Millisecond)
	reload(t, c, "127.0.0.1:0", "selection: {cooldown: 7s}\n"+rest)
	after := c.app.fleet.units[0]
	if after == before {
		t.Fatal("the upstream is the same as before")
	}
	tcp, udp := after.stream.Health.Status(time.Now()), after.packet.Health.Status(time.Now())
	if tcp.RTT != 42*time.Millisecond || udp.RTT != 43*time.Millisecond || tcp.State != health.Up {
		t.Errorf("it knows %+v and %+v", tcp, udp)
	}
}

// TestReloadWithoutProbes shows that an upstream which was down does not stay so for ever once nobody probes
// it.
func TestReloadWithoutProbes(t *testing.T) {
	rest := "upstreams:\n" + entry(t, startServer(t, outlinetest.Config{}))
	c := startClient(t, "127.0.0.1:0", rest)
	nobody := closedPort(t)
	for _, off := range []string{
		fmt.Sprintf("probe: {tcp_target: %q, enable_udp: false}\n", nobody), "disable_probes: true\n",
	} {
		u := c.app.fleet.units[0]
		for range 2 {
			u.stream.Health.Failure(time.Now(), io.ErrUnexpectedEOF)
			u.packet.Health.Failure(time.Now(), io.ErrUnexpectedEOF)
		}
		reload(t, c, "127.0.0.1:0", off+rest)
		if got := u.packet.Health.Status(time.Now()).State; got == health.Down {
			t.Errorf("%s: UDP is %v", off, got)
		}
	}
	if got := c.app.fleet.units[0].stream.Health.Status(time.Now()).State; got == health.Down {
		t.Errorf("TCP is %v", got)
	}
}

// TestReloadListens shows that listeners which go leave their flows alone, and that one whose place another
// takes makes room for it.
func TestReloadListens(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	rest := "upstreams:\n" + entry(t, s)
	first, second := closedPort(t), closedPort(t)
	c := startClient(t, first, rest)
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	flow := connect(t, c, echo.Addr())
	ask(t, flow, "before")

	reload(t, c, second, rest)
	ask(t, flow, "its listener is closed")
	if conn, err := net.Dial("tcp", first); err == nil {
		conn.Close()
		t.Error("the old listener still accepts")
	}
	c.addr = second
	ask(t, connect(t, c, echo.Addr()), "the new listener")

	_, port, _ := net.SplitHostPort(second)
	open := load(t, second, rest)
	open.Listen.SOCKS5 = []string{"0.0.0.0:" + port}
	if err := c.app.Reload(open); err != nil {
		t.Fatal(err)
	}
	ask(t, connect(t, c, echo.Addr()), "a wider listener in its place")
	ask(t, flow, "still there")
}

// TestReloadThatFails shows that nothing changes then.
func TestReloadThatFails(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	rest := "upstreams:\n" + entry(t, s)
	c := startClient(t, closedPort(t), rest)
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := strings.Replace(rest, "{", "{name: other, ", 1)
	if err := c.app.Reload(load(t, taken.Addr().String(), other)); err == nil {
		t.Error("Reload() = nil although its address is taken")
	}
	ask(t, connect(t, c, echo.Addr()), "the old listener is open again")
	if got := c.app.fleet.units[0].entry.Name; got == "other" {
		t.Error("the upstreams are those of the configuration that failed")
	}
	if strings.Contains(scrape(c.app), `upstream="other"`) {
		t.Error("metrics show an upstream of the configuration that failed")
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.app.Reload(load(t, c.addr, rest)); !errors.Is(err, ErrStopping) {
		t.Errorf("Reload() after the end = %v, want %v", err, ErrStopping)
	}
}

// TestReloadUsers shows that new clients need the new password at once.
func TestReloadUsers(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	rest := "upstreams:\n" + entry(t, s)
	addr := closedPort(t)
	c := startClient(t, addr, rest)
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	flow := connect(t, c, echo.Addr())
	ask(t, flow, "before")
	with := load(t, addr, rest)
	with.Listen.SOCKS5Users = []config.User{{Username: "alice", Password: config.NewSecret("password")}}
	if err := c.app.Reload(with); err != nil {
		t.Fatal(err)
	}
	ask(t, flow, "flows go on")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{5, 1, 0}); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 2)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[1] != 0xff {
		t.Errorf("answer to a client without a password = %x, %v, want a refusal", answer, err)
	}
}
