// Package transporttest says what a [transport.StreamConn] must do, as a suite of tests that every
// implementation passes, and gives tests connected pairs to build on: [TCPPair] over loopback, [Pipe] in
// memory.
//
// Only tests import it.
package transporttest
