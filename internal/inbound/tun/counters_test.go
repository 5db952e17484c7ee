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
	want := Snapshot{
		PacketsOut: 1, BytesOut: 100, PacketsIn: 2, BytesIn: 42,
		Drops: make(map[string]uint64), Errors: make(map[string]uint64),
	}
	for o := range errorOps {
		want.Errors[o.String()] = 0
	}
	want.Errors["write"] = 1
	for d := range dropReasons {
		want.Drops[d.String()] = uint64(d) + 1
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Snapshot() (-want +got):\n%s", diff)
	}
	if len(got.Drops) != int(dropReasons) || len(got.Errors) != int(errorOps) {
		t.Errorf("two reasons or operations have the same name: %v, %v", got.Drops, got.Errors)
	}
}
