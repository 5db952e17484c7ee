package capture

import (
	"errors"
	"fmt"
	"slices"
)

// ErrRestart says that options differ in what only a new capture can change: the device, or its addresses.
var ErrRestart = errors.New("another device or address takes a restart of the tunnel")

// Update puts other options into force, without a moment in which neither hold. On an error the old ones
// stay.
func (c *Capture) Update(o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kernel == nil {
		return errClosed
	}
	o = o.settled()
	if !o.Addr4.IsValid() {
		o.Addr4 = c.options.Addr4
	}
	if !o.Addr6.IsValid() || !c.options.Addr6.IsValid() {
		o.Addr6 = c.options.Addr6
	}
	if o.Device != c.options.Device || o.Addr4 != c.options.Addr4 || o.Addr6 != c.options.Addr6 {
		return ErrRestart
	}
	return c.moveTo(&Capture{options: o, kernel: c.kernel, steps: Plan(o)})
}

var errClosed = errors.New("the capture is closed")

// moveTo takes the steps of next that are new, the guard first, and then takes back those that it has no
// longer.
func (c *Capture) moveTo(next *Capture) error {
	next.done = make([]bool, len(next.steps))
	old, wanted := c.places(), next.places()
	for i, s := range next.steps {
		if _, ok := old[s.String()]; ok {
			continue
		}
		if err := next.take(i); err != nil {
			return errors.Join(err, c.comeBack(next))
		}
	}
	var errs []error
	for i, s := range slices.Backward(c.steps) {
		at, stays := wanted[s.String()]
		switch {
		case stays:
			next.done[at] = next.done[at] || c.done[i]
		case !c.done[i] || c.isGuard(i) && next.isGuard(0): // not ours, or replaced
		default:
			if err := s.remove(c.kernel); err != nil {
				errs = append(errs, fmt.Errorf("take back %s: %w", label(s), err))
			}
		}
	}
	c.options, c.steps, c.done = next.options, next.steps, next.done
	return errors.Join(errs...)
}

// places are those of the steps, by what they do.
func (c *Capture) places() map[string]int {
	m := make(map[string]int, len(c.steps))
	for i, s := range c.steps {
		m[s.String()] = i
	}
	return m
}

// comeBack takes back what was done of next. The guard is replaced once more.
func (c *Capture) comeBack(next *Capture) error {
	var err error
	if next.isGuard(0) && next.done[0] && c.isGuard(0) {
		next.done[0] = false
		_, err = c.steps[0].add(c.kernel)
	}
	return errors.Join(next.undo(), err)
}
