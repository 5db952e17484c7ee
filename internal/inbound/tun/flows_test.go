package tun

import (
	"context"
	"errors"
	"testing"
)

func TestFlowSetIsBounded(t *testing.T) {
	var s flowSet
	for want := 1; want <= 2; want++ {
		_, ticket, err := s.begin(t.Context(), 2)
		if err != nil || ticket.live != want || ticket.id != uint64(want) {
			t.Errorf("begin() = %+v, %v, want the live flow, and id, %d", ticket, err, want)
		}
	}
	if _, _, err := s.begin(t.Context(), 2); !errors.Is(err, errFull) {
		t.Errorf("third flow of two: %v, want %v", err, errFull)
	}
}

func TestNewestFlowsAreCut(t *testing.T) {
	var s flowSet
	if n := s.cutNewest(8, errFull); n != 0 {
		t.Errorf("cutNewest() of none = %d, want 0", n)
	}
	var flows [9]context.Context
	for i := range flows {
		flows[i], _, _ = s.begin(t.Context(), len(flows))
	}
	if n := s.cutNewest(8, errFull); n != 2 {
		t.Errorf("cutNewest(8) of 9 = %d, want 2", n)
	}
	if n := s.cutNewest(7, errClosed); n != 1 {
		t.Errorf("cutNewest(7) of the 7 that are left = %d, want 1", n)
	}
	for i, ctx := range flows {
		if cut := errors.Is(context.Cause(ctx), errFull); cut != (i >= 7) {
			t.Errorf("flow %d of 9: cut %v", i+1, cut)
		}
	}
}

func TestFlowSetEnds(t *testing.T) {
	var s flowSet
	first, a, _ := s.begin(t.Context(), 2)
	second, b, _ := s.begin(t.Context(), 2)
	a.end()
	if first.Err() == nil || second.Err() != nil {
		t.Errorf("contexts after the first flow's end: %v, %v, want only the first to be done",
			first.Err(), second.Err())
	}
	s.close()
	if _, _, err := s.begin(t.Context(), 2); !errors.Is(err, errClosed) || !s.isClosed() {
		t.Errorf("flow of a closed set: %v, want %v", err, errClosed)
	}
	cause := errors.New("cut")
	if n := s.cut(cause); n != 1 || !errors.Is(context.Cause(second), cause) {
		t.Errorf("cut() = %d, cause %v, want 1 and %v", n, context.Cause(second), cause)
	}
	b.end()
	s.running.Wait()
}
