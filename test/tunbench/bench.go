//go:build linux && !unit

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// Targets.
const (
	maxOverRedirect = 2.2 // processor time, as a multiple of the redirect's
	minUnderPlain   = 3.0 // and of it in the processor time without super-segments
	maxWakeups      = 2.0 // a second, idle
	maxFlowKiB      = 40.0
	maxLost         = 0 // datagrams, of 20,000 a second
)

const (
	settle   = 2 * time.Second // for timers and garbage after a load
	idleTime = 5 * time.Second
)

// scenario is one kind of load.
type scenario struct {
	name     string
	streams  int
	download bool
}

var scenarios = [...]scenario{
	{"up 1", 1, false}, {"down 1", 1, true}, {"up 8", 8, false}, {"down 8", 8, true},
}

var modes = [...]string{modeRedirect, modeTunnel, modePlain}

// sample is one measurement.
type sample struct{ cost, speed float64 } // s/GB, Gbit/s

type cell struct{ mode, scenario string }

func bench(ctx context.Context, o options) error {
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	server, err := l.start(ctx, l.internet, "-role", roleServer)
	if err != nil {
		return err
	}
	defer server.stop()
	if _, err := server.line(); err != nil {
		return err
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Printf("%d processors, load %s", runtime.NumCPU(), load)
	}
	samples := make(map[cell][]sample)
	for range o.rounds {
		for _, mode := range modes {
			if err := l.measure(ctx, o, mode, samples); err != nil {
				return fmt.Errorf("%s: %w", mode, err)
			}
		}
	}
	costs := printCosts(samples)
	rest, err := l.rest(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(judge(costs), rest)
}

// measure puts every load on a relay.
func (l *lab) measure(ctx context.Context, o options, mode string, samples map[cell][]sample) error {
	r, err := l.relay(ctx, mode)
	if err != nil {
		return err
	}
	defer l.stopRelay(ctx, r, mode)
	for _, s := range scenarios {
		got, err := l.load(ctx, o, r, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		at := cell{mode, s.name}
		samples[at] = append(samples[at], got)
	}
	return nil
}

// relay starts a relay and leads what is meant for targetHost to it.
func (l *lab) relay(ctx context.Context, mode string) (*child, error) {
	r, err := l.start(ctx, l.machine, "-role", roleRelay, "-mode", mode)
	if err != nil {
		return nil, err
	}
	if _, err := r.line(); err != nil {
		return nil, err
	}
	if mode == modeRedirect {
		err = errors.Join(
			l.ip(ctx, l.machine, "route replace "+targetHost+" dev up0"),
			l.command(ctx, l.machine, "table ip bench { chain out { type nat hook output priority -100; "+
				"ip daddr "+targetHost+" meta l4proto tcp redirect; }; }", "nft", "-f", "-"),
		)
	} else {
		err = errors.Join(
			l.ip(ctx, l.machine, "addr add 10.78.0.1/30 dev "+device),
			l.ip(ctx, l.machine, "route replace "+targetHost+" dev "+device+" src 10.78.0.1"),
		)
	}
	if err != nil {
		l.stopRelay(ctx, r, mode)
		return nil, err
	}
	return r, nil
}

func (l *lab) stopRelay(ctx context.Context, r *child, mode string) {
	r.stop() // and with it the device and its routes
	if mode == modeRedirect {
		_ = l.command(ctx, l.machine, "delete table ip bench", "nft", "-f", "-")
		_ = l.ip(ctx, l.machine, "route del "+targetHost+" dev up0")
	}
}

func (l *lab) load(ctx context.Context, o options, r *child, s scenario) (sample, error) {
	before, err := r.processorTime()
	if err != nil {
		return sample{}, err
	}
	client, err := l.start(ctx, l.machine, "-role", roleClient, "-duration", o.duration.String(),
		"-streams", strconv.Itoa(s.streams), "-download="+strconv.FormatBool(s.download))
	if err != nil {
		return sample{}, err
	}
	defer client.stop()
	line, err := client.line()
	if err != nil {
		return sample{}, err
	}
	var bytes, nanoseconds float64
	if _, err := fmt.Sscan(line, &bytes, &nanoseconds); err != nil {
		return sample{}, err
	}
	after, err := r.processorTime()
	return sample{cost: (after - before) / (bytes / 1e9), speed: bytes * 8 / nanoseconds}, err
}

// rest measures what a tunnel costs that carries nothing.
func (l *lab) rest(ctx context.Context, o options) (missed, err error) {
	r, err := l.relay(ctx, modeTunnel)
	if err != nil {
		return nil, err
	}
	defer l.stopRelay(ctx, r, modeTunnel)
	if _, err := l.load(ctx, options{duration: time.Second}, r, scenarios[0]); err != nil {
		return nil, err
	}
	empty, err := r.residentAfterGC()
	if err != nil {
		return nil, err
	}
	rate, err := idleWakeups(r)
	if err != nil {
		return nil, err
	}
	lost, err := l.fewestLost(ctx, o, r)
	if err != nil {
		return nil, err
	}
	held, err := l.hold(ctx, o, r)
	if err != nil {
		return nil, err
	}
	each := (held - empty) / float64(o.flows)
	fmt.Printf("idle: %.1f wake-ups/s, %.1f MiB; %d flows held: %.1f MiB, %.1f KiB each\n",
		rate, empty/1024, o.flows, held/1024, each)
	if rate >= maxWakeups {
		missed = fmt.Errorf("%.1f wake-ups a second, want less than %g", rate, maxWakeups)
	}
	if lost > maxLost {
		missed = errors.Join(missed, fmt.Errorf("%.0f datagrams lost, want %d", lost, maxLost))
	}
	if each > maxFlowKiB {
		missed = errors.Join(missed,
			fmt.Errorf("%.1f KiB for a held flow, want at most %g", each, maxFlowKiB))
	}
	return missed, nil
}

func idleWakeups(r *child) (perSecond float64, err error) {
	before, err := r.wakeups()
	if err != nil {
		return 0, err
	}
	pause(idleTime)
	after, err := r.wakeups()
	return (after - before) / idleTime.Seconds(), err
}

// fewestLost tries again when datagrams were lost: other work on this host loses some, and never gives any
// back.
func (l *lab) fewestLost(ctx context.Context, o options, r *child) (float64, error) {
	fewest := math.Inf(1)
	for range o.rounds {
		lost, err := l.datagrams(ctx, o, r)
		if err != nil {
			return 0, err
		}
		if fewest = min(fewest, lost); fewest <= maxLost {
			break
		}
	}
	return fewest, nil
}

// datagrams returns how many of many datagrams a second did not come back.
func (l *lab) datagrams(ctx context.Context, o options, r *child) (lost float64, err error) {
	before, err := r.processorTime()
	if err != nil {
		return 0, err
	}
	client, err := l.start(ctx, l.machine, "-role", roleDatagrams, "-duration", o.duration.String())
	if err != nil {
		return 0, err
	}
	defer client.stop()
	line, err := client.line()
	if err != nil {
		return 0, err
	}
	var sent, received float64
	if _, err := fmt.Sscan(line, &sent, &received); err != nil {
		return 0, err
	}
	after, err := r.processorTime()
	fmt.Printf("datagrams: %.0f of %.0f echoed at %d a second, %.1f us each\n",
		received, sent, datagramRate, (after-before)/received*1e6)
	return sent - received, err
}

// hold returns the memory of r while flows are held.
func (l *lab) hold(ctx context.Context, o options, r *child) (kib float64, err error) {
	h, err := l.start(ctx, l.machine, "-role", roleHold, "-flows", strconv.Itoa(o.flows))
	if err != nil {
		return 0, err
	}
	defer h.stop()
	if _, err := h.line(); err != nil {
		return 0, err
	}
	return r.residentAfterGC()
}

// pause gives another process time, which announces nothing.
func pause(d time.Duration) { <-time.After(d) }

// printCosts prints a table and returns the median costs.
func printCosts(samples map[cell][]sample) map[cell]float64 {
	costs := make(map[cell]float64)
	fmt.Printf("%-10s", "s/GB Gbit/s")
	for _, s := range scenarios {
		fmt.Printf(" %16s", s.name)
	}
	fmt.Println()
	for _, mode := range modes {
		fmt.Printf("%-11s", mode)
		for _, s := range scenarios {
			at := cell{mode, s.name}
			middle := median(samples[at])
			costs[at] = middle.cost
			fmt.Printf(" %9.2f %6.1f", middle.cost, middle.speed)
		}
		fmt.Println()
	}
	return costs
}

// median returns the sample whose cost is the middle one.
func median(samples []sample) sample {
	sorted := slices.SortedFunc(slices.Values(samples), func(a, b sample) int {
		if a.cost < b.cost {
			return -1
		}
		return 1
	})
	return sorted[len(sorted)/2]
}

// judge prints how the modes compare and returns what misses its target.
func judge(costs map[cell]float64) error {
	var missed []error
	for _, s := range scenarios {
		tunnel := costs[cell{modeTunnel, s.name}]
		over := tunnel / costs[cell{modeRedirect, s.name}]
		under := costs[cell{modePlain, s.name}] / tunnel
		fmt.Printf("%-6s %.2f x redirect, %.2f x cheaper than without super-segments\n", s.name, over, under)
		if over > maxOverRedirect || under < minUnderPlain {
			missed = append(missed, fmt.Errorf("%s: want at most %g x redirect and %g x cheaper than "+
				"without super-segments", s.name, maxOverRedirect, minUnderPlain))
		}
	}
	return errors.Join(missed...)
}
