// Package gate lets new flows in while there are places and memory for them.
//
// Inbounds ask it once they know what a client wants. A flow that finds no room waits its turn for a moment,
// and is then refused with a reason. How much memory is in use is looked at ten times a second, not by every
// flow. When the flows inside take more than there is, the newest of them are given up for the others.
package gate
