package tun

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d deadline
		never := d.done()
		d.set(time.Now().Add(time.Minute))
		began := time.Now()
		<-d.done()
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited %v, want 1m", waited)
		}
		if never != d.done() {
			t.Error("who asked before there was a deadline does not learn of it")
		}

		d.set(time.Time{})
		if isClosed(d.done()) {
			t.Error("a deadline that was taken back has passed")
		}
		d.set(time.Now().Add(-time.Second))
		if !isClosed(d.done()) {
			t.Error("a deadline in the past has not passed")
		}
		d.set(time.Now().Add(time.Hour))
		d.set(time.Now().Add(time.Second)) // replaces the other
		began = time.Now()
		<-d.done()
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("waited %v, want 1s", waited)
		}
	})
}
