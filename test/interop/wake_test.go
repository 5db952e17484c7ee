//go:build interop

package interop

import (
	"context"
	"errors"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// soonest is how soon there has to be traffic again, and noticeTime how soon the client probes. What may
	// come in between is the kernel's doing: after a change of a link it loses an ARP request now and then,
	// and repeats it after a second.
	soonest    = 2 * time.Second
	noticeTime = time.Second
	// downTime is how long there is no network.
	downTime = 10 * time.Second
	// stopTime is how long the client is stopped, unless stopVariable says something else ("60s").
	stopTime     = 15 * time.Second
	stopVariable = "INTEROP_STOP"
	// noNetwork is "network unreachable" (RFC 1928, section 6).
	noNetwork = ReplyError(3)
)

// change is something that happens to the network of a host, or to the client there.
type change struct {
	begin, end func(t *testing.T, a *away)
	lasts      time.Duration
	offline    bool // there is no network meanwhile
}

// TestLinkDown switches the client's link off and on.
func TestLinkDown(t *testing.T) {
	everyoneAway(t, change{
		begin:   func(t *testing.T, a *away) { a.inside(t, "link set wan down") },
		end:     func(t *testing.T, a *away) { a.inside(t, "link set wan up") },
		lasts:   downTime,
		offline: true,
	})
}

// TestNoCarrier switches the other end of the link off and on, which is to pull the plug: the client's host
// keeps its address and its routes.
func TestNoCarrier(t *testing.T) {
	everyoneAway(t, change{
		begin:   func(t *testing.T, a *away) { ip(t, "link set %s down", a.wan) },
		end:     func(t *testing.T, a *away) { ip(t, "link set %s up", a.wan) },
		lasts:   downTime,
		offline: true,
	})
}

// TestAnotherAddress gives the client's host another address after a while without any.
func TestAnotherAddress(t *testing.T) {
	everyoneAway(t, change{
		begin:   func(t *testing.T, a *away) { a.inside(t, "address flush dev wan") },
		end:     func(t *testing.T, a *away) { a.move(t) },
		lasts:   downTime / 2,
		offline: true,
	})
}

// TestStopped stops the client for a while, as a host that sleeps would.
func TestStopped(t *testing.T) {
	everyoneAway(t, change{
		begin: func(t *testing.T, a *away) { a.signal(t, syscall.SIGSTOP) },
		end:   func(t *testing.T, a *away) { a.signal(t, syscall.SIGCONT) },
		lasts: stopFor(t),
	})
}

// TestStoppedAndMoved wakes the client up on another network.
func TestStoppedAndMoved(t *testing.T) {
	everyoneAway(t, change{
		begin: func(t *testing.T, a *away) { a.signal(t, syscall.SIGSTOP) },
		end: func(t *testing.T, a *away) {
			a.move(t)
			a.signal(t, syscall.SIGCONT)
		},
		lasts: stopFor(t),
	})
}

func stopFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(stopVariable)
	if text == "" {
		return stopTime
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (a *away) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := a.client.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// everyoneAway has a change happen to a host for each carrier, to all at the same time.
func everyoneAway(t *testing.T, c change) {
	t.Helper()
	inNamespace(t, func(t *testing.T) {
		for i, carriage := range carriages {
			a := newAway(t, i)
			t.Run("carrier "+carriage.flags, func(t *testing.T) {
				t.Parallel()
				a.start(t, carriage.flags)
				testChange(t, a, c)
			})
		}
	})
}

func testChange(t *testing.T, a *away, c change) {
	t.Helper()
	flow := openFlow(t, a.client, a.echo.String())
	association, err := Associate(t.Context(), a.client.SOCKS)
	if err != nil {
		t.Fatal(err)
	}
	defer association.Close()
	traffic(t, a, association)
	a.client.WaitFor(t, "probe", a.logged(`"probe passed".*"proto":"udp"`))

	c.begin(t, a)
	if c.offline {
		a.client.WaitFor(t, "notice", a.logged(`"msg":"no network"`))
		testRefusals(t, a, c.lasts)
	} else {
		pass(c.lasts)
	}
	began := time.Now()
	c.end(t, a)
	running := a.waitRunning(t)
	tcp, udp := traffic(t, a, association)
	noticed := a.when(t, `"network (changed|is back)"`, began)
	probed := a.when(t, `"probe passed"`, noticed)

	since := func(at, began time.Time) time.Duration { return at.Sub(began).Round(time.Millisecond) }
	t.Logf("the link ran after %v; a flow after %v, a datagram after %v, the change noticed after %v, "+
		"a probe passed %v after that; the flow from before %s", since(running, began), since(tcp, began),
		since(udp, began), since(noticed, began), since(probed, noticed), fateOf(t, flow))
	if tcp.Sub(began) > soonest || udp.Sub(began) > soonest {
		t.Errorf("traffic later than %v", soonest)
	}
	if noticed.Sub(running) > noticeTime {
		t.Errorf("the change was noticed later than %v after the link ran", noticeTime)
	}
	if probed.Sub(began) > soonest {
		t.Errorf("no probe passed within %v", soonest)
	}
}

// traffic returns when a flow has carried a byte both ways, and when an association has carried a datagram.
func traffic(t *testing.T, a *away, on *Association) (tcp, udp time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	var tcpErr, udpErr error
	var trying sync.WaitGroup
	trying.Go(func() { tcp, tcpErr = repeat(ctx, a.tcp) })
	trying.Go(func() { udp, udpErr = repeat(ctx, func(context.Context) error { return a.udp(on) }) })
	trying.Wait()
	if err := errors.Join(tcpErr, udpErr); err != nil {
		t.Fatal(err)
	}
	return tcp, udp
}

// pass lets time pass.
func pass(d time.Duration) { <-time.After(d) }

// fateOf is what became of a flow from before. It may go on or end, but not hang.
func fateOf(t *testing.T, flow *net.TCPConn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	err := exchange(ctx, flow)
	switch {
	case err == nil:
		return "goes on"
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Error("the flow from before hangs")
		return "hangs"
	}
	return "has ended"
}

// logged returns a try that looks for an expression in the client's log.
func (a *away) logged(expression string) func(context.Context) error {
	return func(context.Context) error {
		if !regexp.MustCompile(expression).MatchString(a.client.Output()) {
			return errors.New("nothing in the log")
		}
		return nil
	}
}

// when waits for a line of the client's log that is newer than a time, and returns its own.
func (a *away) when(t *testing.T, expression string, after time.Time) (at time.Time) {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^{"time":"([^"]+)".*` + expression)
	a.client.WaitFor(t, "log "+expression, func(context.Context) (err error) {
		for _, found := range lines.FindAllStringSubmatch(a.client.Output(), -1) {
			if at, err = time.Parse(time.RFC3339Nano, found[1]); err != nil || at.After(after) {
				return err
			}
		}
		return errors.New("nothing in the log")
	})
	return at
}

// testRefusals opens flows while there is no network. They must be refused at once, and nothing may be tried.
func testRefusals(t *testing.T, a *away, lasts time.Duration) {
	t.Helper()
	until := time.Now().Add(lasts)
	seen := len(a.client.Output())
	for time.Now().Before(until) {
		began := time.Now()
		err := a.tcp(t.Context())
		if took := time.Since(began); !errors.Is(err, noNetwork) || took > time.Second {
			t.Errorf("a flow without a network: %v after %v, want %v at once", err, took, noNetwork)
		}
		pass(time.Second / 2)
	}
	for line := range strings.SplitSeq(a.client.Output()[seen:], "\n") {
		if regexp.MustCompile(`"msg":"(probe|standby|upstream|tls)`).MatchString(line) {
			t.Errorf("without a network: %s", line)
		}
	}
}
