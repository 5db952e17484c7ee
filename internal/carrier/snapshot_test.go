package carrier

import (
	"encoding/json"
	"testing"
	"time"
)

func TestMemoryOutlivesAProgram(t *testing.T) {
	now := time.Unix(1e9, 0)
	var before Memory
	before.didNot(H3, now)
	before.late(H2, now)
	text, err := json.Marshal(before.Snapshot(now))
	if err != nil {
		t.Fatal(err)
	}
	var kept Snapshot
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	if _, ok := kept["h2"]; ok || len(kept) != 1 {
		t.Errorf("snapshot = %s, want h3 alone: what was late may be back", text)
	}
	var after Memory
	after.Restore(kept, now.Add(time.Second))
	if p := after.plan([]Mode{H3, H2, H1}, now.Add(time.Second)); len(p.race) != 2 || len(p.last) != 1 {
		t.Errorf("plan = %+v, want h3 last", p)
	}
	if p := after.plan([]Mode{H3, H2, H1}, now.Add(firstTerm+1)); len(p.look) != 1 {
		t.Errorf("plan after the term = %+v, want another look at h3", p)
	}
}

// Whatever a file says, nothing is left out for longer than it could have been.
func TestRestoreDoubtsItsFile(t *testing.T) {
	now := time.Unix(1e9, 0)
	for name, f := range map[string]FailedMode{
		"over":     {now.Add(-time.Second), time.Minute},
		"no term":  {now.Add(time.Hour), 0},
		"negative": {now.Add(time.Hour), -time.Minute},
	} {
		var m Memory
		m.Restore(Snapshot{"h3": f, "h9": {now.Add(time.Hour), time.Hour}}, now)
		if p := m.plan([]Mode{H3, H1}, now); len(p.race) != 2 {
			t.Errorf("%s: plan = %+v, want h3 in the race", name, p)
		}
	}
	var m Memory
	m.Restore(Snapshot{"h3": {now.Add(1000 * time.Hour), 1000 * time.Hour}}, now)
	if p := m.plan([]Mode{H3, H1}, now.Add(maxTerm+1)); len(p.look) != 1 {
		t.Errorf("plan = %+v, want a look at h3 after %v", p, maxTerm)
	}
}
