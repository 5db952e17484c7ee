package main

import "time"

// fault is a way in which a server breaks.
type fault string

// The faults, with what is told of them.
const (
	calm      fault = "calm"
	kill      fault = "kill"      // the process is killed: its port is closed and its connections are cut
	freeze    fault = "freeze"    // nothing moves any more, without a word; all of it arrives when that ends
	stall     fault = "stall"     // TCP and TLS open, a request is never answered; old connections froze
	blackhole fault = "blackhole" // WebSockets open, swallow everything and answer pings
	secret    fault = "secret"    // another secret; old connections are cut
	slow      fault = "slow"      // 200 ms are added to every round trip
)

var faults = []fault{kill, blackhole, freeze, secret, stall, slow}

// phase is a time with one fault or with none.
type phase struct {
	fault    fault
	strikes  string // the protocol whose current upstream breaks, "tcp" or "udp"; empty for calm
	duration time.Duration
}

const (
	slotTime = 9 * time.Second  // for one fault and the calm after it, about
	warmTime = 10 * time.Second // the calm at the beginning, at most
	warmPart = 12               // that part of a run is the calm at the beginning
	calmPart = 3                // and that part of a slot the calm at its end
)

// plan divides the time of a run: calm, and then faults with calm after each. Every round of all faults
// strikes the current upstream of the other protocol.
func plan(total time.Duration) []phase {
	warm := min(total/warmPart, warmTime)
	phases := []phase{{fault: calm, duration: warm}}
	slots := max(int((total-warm)/slotTime), len(faults))
	slot := (total - warm) / time.Duration(slots)
	for i := range slots {
		strikes := "tcp"
		if i/len(faults)%2 == 1 {
			strikes = "udp"
		}
		f := faults[i%len(faults)]
		phases = append(phases,
			phase{f, strikes, slot - slot/calmPart}, phase{fault: calm, duration: slot / calmPart})
	}
	return phases
}
