package transport

import (
	"sync"
	"time"
)

// Deadline is a point in time that can be moved while somebody waits for it, for connections of our own. The
// zero value is never. Its methods may be called concurrently.
type Deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{} // closed at the deadline; replaced when it moves after that
}

// Set moves the deadline; the zero time is never. Those who wait already learn of it.
func (d *Deadline) Set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.channel() // the timer is closing it
	}
	d.timer = nil
	select {
	case <-d.channel():
		d.passed = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	passed := d.passed
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { close(passed) })
		return
	}
	close(passed)
}

// Done returns a channel that is closed at the deadline. One that is set after it has passed has another.
func (d *Deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channel()
}

// Passed reports whether it is over.
func (d *Deadline) Passed() bool {
	select {
	case <-d.Done():
		return true
	default:
		return false
	}
}

func (d *Deadline) channel() chan struct{} {
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}
