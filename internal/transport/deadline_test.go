package transport

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Deadline
		never := d.Done()
		d.Set(time.Now().Add(time.Minute))
		began := time.Now()
		<-d.Done()
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited %v, want 1m", waited)
		}
		if never != d.Done() {
			t.Error("who asked before there was a deadline does not learn of it")
		}

		d.Set(time.Time{})
		if d.Passed() {
			t.Error("a deadline that was taken back has passed")
		}
		d.Set(time.Now().Add(-time.Second))
		if !d.Passed() {
			t.Error("a deadline in the past has not passed")
		}
		d.Set(time.Now().Add(time.Hour))
		d.Set(time.Now().Add(time.Second)) // replaces the other
		began = time.Now()
		<-d.Done()
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("waited %v, want 1s", waited)
		}
	})
}

func TestDeadlineThatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Deadline
		start := time.Now()
		d.Set(start.Add(time.Hour))
		wait := d.Done()
		d.Set(start.Add(2 * time.Second)) // for those who wait already
		<-wait
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("deadline passed after %v, want 2s", took)
		}
		d.Set(start.Add(3 * time.Second))
		if d.Passed() {
			t.Error("a deadline in the future has passed")
		}
		<-d.Done()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("deadline passed after %v, want 3s", took)
		}
		d.Set(start)
		if !d.Passed() {
			t.Error("a deadline in the past has not passed")
		}
	})
}
