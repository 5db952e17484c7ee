//go:build e2e && linux

package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// restless asks everything that could leak, over and over, as the programs of a machine do.
type restless struct {
	stop context.CancelFunc
	done sync.WaitGroup
	mu   sync.Mutex
	got  map[string]int
}

func (o *outside) beRestless(t *testing.T) *restless {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &restless{stop: stop, got: make(map[string]int)}
	for _, target := range []string{
		web4 + ":" + whoPort, "[" + web6 + "]:" + whoPort, names4 + ":53", "[" + names6 + "]:53", lan + ":53",
		"8.8.8.8:53",
	} {
		for _, proto := range []string{"tcp", "udp"} {
			q := question{proto: proto, target: target}
			r.done.Go(func() {
				for ctx.Err() == nil {
					answer := q.answer(ctx, 300*time.Millisecond)
					r.mu.Lock()
					r.got[answer]++
					r.mu.Unlock()
					select {
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			})
		}
	}
	return r
}

func (r *restless) end() map[string]int {
	r.stop()
	r.done.Wait()
	return r.got
}

// Nothing but the upstream's traffic is on the uplink, whatever becomes of the program and its upstreams; who
// needs the LAN or asks from outside notices nothing.
func TestNothingLeaks(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	serve(t)
	before := snapshot(t)
	config := o.config(t, "{enable: true, kill_switch: true}", "four")
	p := startTunnel(t, config)
	o.onWire(t)

	r := o.beRestless(t)
	upstreams := []string{upstream4}
	phase := func(name string) {
		t.Helper()
		o.reachable(t)
		o.wantOnWire(t, name, withNeighbours(upstreams...)...)
	}
	pause(t, time.Second)
	phase("run")
	o.fails(t, outlinetest.RefuseTCP)
	pause(t, 3*time.Second)
	phase("upstream refuses")
	o.fails(t, outlinetest.NoStage)
	took := question{proto: "tcp", target: web4 + ":" + whoPort}.eventually(t, tunnel, 20*time.Second)
	t.Logf("the upstream is back, and flows go through after %v", took)
	o.fails(t, outlinetest.StallTLS)
	pause(t, 2*time.Second)
	phase("upstream is silent")
	o.fails(t, outlinetest.NoStage)
	question{proto: "tcp", target: web4 + ":" + whoPort}.eventually(t, tunnel, 20*time.Second)
	p.hup(t, o.config(t, "{enable: true, kill_switch: true}", "four", "six"))
	p.hup(t, config)
	pause(t, time.Second)
	upstreams = append(upstreams, upstream6)
	phase("reload")
	p.kill(t)
	pause(t, 500*time.Millisecond)
	phase("killed")
	p = start(t, config)
	p.says(t, "full tunnel")
	question{proto: "tcp", target: web4 + ":" + whoPort}.eventually(t, tunnel, 20*time.Second)
	phase("restarted")
	t.Logf("answers: %v", r.end())
	if n := r.got[direct]; n > 0 {
		t.Errorf("%d questions were answered past the tunnel", n)
	}
	p.stop(t)
	sameAs(t, before)
}

// The program's own start and end.
func TestStartSendsNothingElse(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	o.onWire(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	o.wantOnWire(t, "start", upstream4)
	p.stop(t)
	o.wantOnWire(t, "stop", upstream4)
	sameAs(t, before)
}

// A resolver with a link-local address can be asked over its link alone, which would be past the tunnel:
// refused at once, so that another one is asked.
func TestLinkLocalResolver(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	o.onWire(t)
	began := time.Now()
	for range 2 {
		question{proto: "udp", target: "[fe80::53%up0]:53"}.want(t, blocked)
	}
	t.Logf("refused after %v", time.Since(began)/2)
	o.wantOnWire(t, "a resolver on the link", upstream4)
	p.stop(t)
}
