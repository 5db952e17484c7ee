package tun

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSnapshotNamesEverything(t *testing.T) {
	var c Counters
	c.moved(directionOut, 100)
	c.moved(directionIn, 30)
	c.moved(directionIn, 12)
	c.failed(opWrite)
	for d := range dropReasons {
		for range d + 1 {
			c.dropped(d)
		}
	}
	got := c.Snapshot()
	if got.PacketsOut != 1 || got.BytesOut != 100 || got.PacketsIn != 2 || got.BytesIn != 42 {
		t.Errorf("moved = %+v", got)
	}
	if got.Errors["write"] != 1 || len(got.Errors) != int(errorOps) {
		t.Errorf("errors = %v, want one of write, and every operation", got.Errors)
	}
	want := make(map[string]uint64)
	for d := range dropReasons {
		if d.String() == "" {
			t.Errorf("reason %d has no name", d)
		}
		want[d.String()] = uint64(d) + 1
	}
	if diff := cmp.Diff(want, got.Drops); diff != "" || len(want) != int(dropReasons) {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
}
