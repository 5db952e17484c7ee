package app

import (
	"log/slog"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h2"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h3"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
)

// TestStrictTargetsAreImpatient: flows of the others have another carrier to go by.
func TestStrictTargetsAreImpatient(t *testing.T) {
	for _, flag := range []string{"h2=only", "h3=only", "h3=1"} {
		target, err := carrier.ParseTarget("wss://example.com/?" + flag)
		if err != nil {
			t.Fatal(err)
		}
		f := &upstreamFactory{config: new(config.Config), parts: parts{budget: h2.NewBudget(0)}}
		dialers := f.dialers(newServer(config.Upstream{}, new(tally)), target, slog.New(slog.DiscardHandler))
		for mode, d := range dialers {
			switch d := d.(type) {
			case *h2.Dialer:
				if d.Patience != target.Patience() {
					t.Errorf("%s: patience of %v = %v, want %v", flag, mode, d.Patience, target.Patience())
				}
			case *h3.Dialer:
				if d.Patience != target.Patience() {
					t.Errorf("%s: patience of %v = %v, want %v", flag, mode, d.Patience, target.Patience())
				}
			}
		}
		for _, c := range f.closers {
			_ = c.Close()
		}
	}
}
