package capture

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"testing"
)

// From every plan to every other, and back at every failure on the way.
func TestUpdate(t *testing.T) {
	if !inLab(t) {
		return
	}
	newUplink(t)
	before := snapshot(t)
	d := newDevice(t)
	all := plans()
	delete(all, "only4")
	names := slices.Sorted(maps.Keys(all))
	c := mustApply(t, all[names[0]])
	for _, from := range names {
		for _, to := range names {
			t.Logf("from %s to %s", from, to)
			if err := c.Update(all[from]); err != nil {
				t.Error(err)
			}
			hasPlan(t, all[from])
			failing := &Capture{options: all[to].settled(), kernel: c.kernel}
			failing.steps = append(Plan(all[to]), refused{})
			if err := c.moveTo(failing); !errors.Is(err, errRefused) {
				t.Errorf("a refused step: %v", err)
			}
			hasPlan(t, all[from])
			if err := c.Update(all[to]); err != nil {
				t.Error(err)
			}
			hasPlan(t, all[to])
			if to != "full" { // which excludes us
				both(t, farWeb+":"+port, byTUN)
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Update(all[names[0]]); !errors.Is(err, errClosed) {
		t.Errorf("Update() after Close = %v", err)
	}
	d.close()
	sameAs(t, before)
}

func TestUpdateRefuses(t *testing.T) {
	if !inLab(t) {
		return
	}
	newDevice(t)
	c := mustApply(t, options())
	moved, renamed, wrong := options(), options(), options()
	moved.Addr4 = addr4Candidates()[2]
	renamed.Device = "other"
	wrong.Exclude = []netip.Prefix{{}}
	for _, o := range []Options{moved, renamed, wrong} {
		if err := c.Update(o); err == nil {
			t.Errorf("Update(%+v) succeeded", o)
		}
	}
	if err := c.Update(options()); err != nil {
		t.Error(err)
	}
	if n, err := c.Repair(); n != 0 || err != nil {
		t.Errorf("Repair() = %d, %v", n, err)
	}
}
