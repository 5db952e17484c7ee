package tun

import (
	"context"
	"errors"
	"testing"
)

func TestFlowSet(t *testing.T) {
	var s flowSet
	first, a, err := s.begin(t.Context(), 2)
	if err != nil || a.live != 1 {
		t.Fatalf("first flow: %v, live %d, want nil and 1", err, a.live)
	}
	second, b, err := s.begin(t.Context(), 2)
	if err != nil || b.live != 2 || a.id == b.id {
		t.Fatalf("second flow: %v, live %d, id %d after %d", err, b.live, b.id, a.id)
	}
	if _, _, err := s.begin(t.Context(), 2); !errors.Is(err, errFull) {
		t.Errorf("third flow of two: %v, want %v", err, errFull)
	}
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
