// Package health knows how well the paths to the upstreams work.
//
// A path is one upstream over one protocol, TCP or UDP. Its [Record] takes in what probes and flows meet on
// it and gives out a [Status]: up or down, cooling or not, and a score by which paths are compared. A
// [Prober] runs the probes, as often as a [Schedule] says. Nothing here knows what an upstream is made of:
// probes go through the transport interfaces that flows go through, and test what flows get.
//
//	unknown --FailThreshold failures--> down
//	   |                                ^  |
//	   | SuccessThreshold successes,    |  | the same
//	   | or an answer to a flow         |  |
//	   +------------> up ---------------+<-+
//
// A failure that the target of a probe is to blame for does not count, and a path that such failures put down
// is unknown again: a path whose probes fail while flows on it are answered gives the target away.
//
// Cooling is apart from these states: a flow that fails leaves the path out for a while although its probes
// may pass. What is decided is decided by pure functions of values and the time they are given.
package health
