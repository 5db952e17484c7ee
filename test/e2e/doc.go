// Package e2e runs the program as it is shipped, with the whole machine in its tunnel.
//
// The machine is a network namespace that a test makes; a second one is all that is outside of it: the
// uplink, a neighbour on the LAN, hosts of the internet, and an Outline server. Every packet on the uplink is
// counted there, so that "nothing else leaves" is a fact about the wire. Reverse paths are checked strictly
// on the whole machine.
//
//	go test -tags e2e ./test/e2e     as root, or `make e2e`
//
// Without root, or without the programs of a network administrator, the suite says so and does nothing.
package e2e
