package tun

import "testing"

func TestWindowFor(t *testing.T) {
	for flows, want := range map[int]int{
		0: maxWindow, 1: maxWindow, 64: maxWindow, 128: maxWindow / 2, 1024: 64 << 10, 1 << 20: minWindow,
	} {
		if got := windowFor(flows, windowBudget); got != want {
			t.Errorf("windowFor(%d) = %d, want %d", flows, got, want)
		}
	}
	for flows := 1; windowFor(flows, windowBudget) > minWindow; flows++ {
		if sum := 2 * flows * windowFor(flows, windowBudget); sum > windowBudget {
			t.Fatalf("%d flows may hold %d, more than %d", flows, sum, windowBudget)
		}
	}
}
