package dialer

import "testing"

func TestTableIsBounded(t *testing.T) {
	tab := table[int, string]{max: 3}
	for i := range 10 {
		tab.store(i, "x")
		if _, ok := tab.load(i); !ok {
			t.Errorf("load(%d) right behind store = none", i)
		}
	}
	if len(tab.entries) != 3 {
		t.Errorf("entries = %d, want 3", len(tab.entries))
	}
	tab.store(9, "y")
	if v, _ := tab.load(9); v != "y" || len(tab.entries) != 3 {
		t.Errorf("load(9) = %q of %d entries, want \"y\" of 3", v, len(tab.entries))
	}
}
