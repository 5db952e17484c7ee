package capture

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Capture is traffic that is led to a device. Its methods may be called concurrently.
type Capture struct {
	options Options

	mu     sync.Mutex
	kernel *kernel // nil once it is closed
	steps  []Step
	done   []bool // of each step: it changed something, which Close takes back

	wasBlocked bool
}

// Apply leads this host's traffic to the device. On an error nothing has changed, and a kill switch that a
// killed process left, and that the options ask for as well, is still in force.
//
// What a killed process left is taken over: under a kill switch no packet passes between the two. The error
// is ErrRunning when another process is alive.
func Apply(o Options) (*Capture, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	k, err := openKernel()
	if err != nil {
		return nil, err
	}
	c, err := apply(k, o.settled())
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w: rules and routes take CAP_NET_ADMIN", err)
	}
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	return c, nil
}

func apply(k *kernel, o Options) (*Capture, error) {
	if err := o.place(k); err != nil {
		return nil, err
	}
	return applySteps(k, o, Plan(o))
}

func applySteps(k *kernel, o Options, steps []Step) (*Capture, error) {
	left, err := k.state()
	if err != nil {
		return nil, err
	}
	if left.Running && left.Device != o.Device {
		return nil, ErrRunning
	}
	c := &Capture{options: o, kernel: k, steps: steps, done: make([]bool, len(steps))}
	c.wasBlocked = o.KillSwitch && left.Stays
	if err := c.run(); err != nil {
		if c.wasBlocked {
			c.done[0] = false
		}
		return nil, errors.Join(err, c.undo())
	}
	return c, nil
}

// run takes all steps. What a killed process left goes when the new guard is there.
func (c *Capture) run() error {
	rest := 0
	if c.isGuard(0) {
		rest = 1
		if err := c.take(0); err != nil {
			return err
		}
	}
	if err := c.takeOver(); err != nil {
		return err
	}
	for i := rest; i < len(c.steps); i++ {
		if err := c.take(i); err != nil {
			return err
		}
	}
	return c.verify()
}

// isGuard is true of the first step only, if of any.
func (c *Capture) isGuard(i int) bool {
	_, ok := c.steps[i].(Guard)
	return ok
}

// take makes one step. A guard that nothing hangs on may fail: then bound resolvers can leak.
func (c *Capture) take(i int) error {
	changed, err := c.steps[i].add(c.kernel)
	if g, ok := c.steps[i].(Guard); ok && err != nil && !g.needed {
		c.options.Log.Warn("no guard against sockets that go past the tunnel", slog.Any("err", err))
		return nil
	}
	c.done[i] = c.done[i] || changed
	if err != nil {
		return fmt.Errorf("%s: %w", label(c.steps[i]), err)
	}
	return nil
}

// label is a step's text for an error, which has room for one line.
func label(s Step) string {
	first, _, more := strings.Cut(s.String(), "\n")
	if more {
		return strings.TrimSuffix(first, " {")
	}
	return first
}

// takeOver removes what a killed process left, but for the guard, which was replaced if the plan has one.
func (c *Capture) takeOver() error {
	if !c.isGuard(0) {
		if err := c.kernel.dropGuard(); err != nil {
			return fmt.Errorf("remove an old guard: %w", err)
		}
	}
	n, err := c.kernel.sweep()
	if n > 0 {
		c.options.Log.Info("took over from a process that was killed", slog.Int("removed", n))
	}
	return err
}

// verify finds a kernel that takes a rule and forgets its tag. Nobody could clean up behind us there.
func (c *Capture) verify() error {
	rules := 0
	for _, s := range c.steps {
		if _, ok := s.(Rule); ok {
			rules++
		}
	}
	s, err := c.kernel.state()
	if err == nil && s.Rules != rules {
		err = fmt.Errorf("the kernel has %d of %d rules: a full tunnel takes Linux 4.17", s.Rules, rules)
	}
	return err
}

// undo takes back what was changed, last things first. It goes on after an error.
func (c *Capture) undo() error {
	var errs []error
	for i, s := range slices.Backward(c.steps) {
		if !c.done[i] {
			continue
		}
		c.done[i] = false
		if err := s.remove(c.kernel); err != nil {
			errs = append(errs, fmt.Errorf("take back %s: %w", label(s), err))
		}
	}
	return errors.Join(errs...)
}

// Addr4 is the device's IPv4 address.
func (c *Capture) Addr4() netip.Prefix { return c.options.Addr4 }

// Addr6 is its IPv6 address; invalid when this host has no IPv6.
func (c *Capture) Addr6() netip.Prefix { return c.options.Addr6 }

// Repair puts back what somebody else removed, and says how much that was. Firewalls that restart flush what
// they do not know, and network daemons rules that are not theirs; call it when the network changed.
func (c *Capture) Repair() (repaired int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kernel == nil {
		return 0, nil
	}
	var errs []error
	if !c.options.Addr6.IsValid() && usesIPv6(c.options.Device) {
		o := c.options
		o.Addr6 = DefaultAddr6()
		o.Log.Info("IPv6 came, and is captured too")
		errs = append(errs, c.moveTo(&Capture{options: o, kernel: c.kernel, steps: Plan(o)}))
	}
	for i, s := range c.steps {
		changed, err := c.restore(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", label(s), err))
		}
		if changed {
			c.done[i] = true
			repaired++
		}
	}
	return repaired, errors.Join(errs...)
}

// restore makes a step again if it is not in force.
func (c *Capture) restore(s Step) (changed bool, err error) {
	g, ok := s.(Guard)
	if !ok {
		return s.add(c.kernel)
	}
	there, err := c.kernel.guard()
	if err != nil || there.there {
		return false, err
	}
	changed, err = g.add(c.kernel)
	if err != nil && !g.needed {
		return false, nil // said when it was applied
	}
	return changed && err == nil, err
}

// WasBlocked reports whether the kill switch of a process that has ended was in force, and was to stay.
func (c *Capture) WasBlocked() bool { return c.wasBlocked }

// Close takes everything back. A second one does nothing.
func (c *Capture) Close() error { return c.end(c.undo) }

// Leave is for an end that nobody asked for. It takes everything back, unless there is a kill switch: that
// one stays in force, as after a crash.
func (c *Capture) Leave() error {
	return c.end(func() error {
		if c.options.KillSwitch {
			return nil
		}
		return c.undo()
	})
}

func (c *Capture) end(undo func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kernel == nil {
		return nil
	}
	err := errors.Join(undo(), c.kernel.close())
	c.kernel = nil
	return err
}
