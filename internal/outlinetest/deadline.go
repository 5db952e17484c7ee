package outlinetest

import (
	"sync"
	"time"
)

// deadline is one of a stream's deadlines. The mutex that guards it is the one that its waiters wait with.
type deadline struct {
	timer  *time.Timer
	round  int // counts the calls of set, so that a timer that was late knows
	passed bool
}

// set moves the deadline; the zero time takes it away. wake is called when it has come. mu is held here and
// there.
func (d *deadline) set(t time.Time, mu sync.Locker, wake func()) {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.round++
	d.timer, d.passed = nil, false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		wake()
		return
	}
	round := d.round
	d.timer = time.AfterFunc(wait, func() {
		mu.Lock()
		defer mu.Unlock()
		if d.round == round {
			d.passed = true
			wake()
		}
	})
}
