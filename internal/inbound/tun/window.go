package tun

const (
	// windowBudget is what the stack may usually hold for all flows together: what applications have not
	// taken, and what upstreams have not. Only flows that are all stuck reach it.
	windowBudget = 128 << 20
	// minWindow lets a flow go on at some speed, however many there are.
	minWindow = 32 << 10
	// maxWindow is more than one flow needs between two processes of a host.
	maxWindow = 1 << 20
)

// windowFor is what one direction of a flow may hold at most, as one of so many that there are when it
// begins. Flows keep what they began with.
func windowFor(flows, budget int) int {
	return min(max(budget/(2*max(flows, 1)), minWindow), maxWindow)
}
