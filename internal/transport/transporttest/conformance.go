package transporttest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// limit is how long one subtest may take before it counts as hung. It leaves room for a tls.Conn whose Close
// waits 5 s for a peer that does not read.
const limit = 10 * time.Second

// errNotImplemented is the result of a check of an optional interface that the connection has not.
var errNotImplemented = errors.New("the optional interface is not implemented")

// check is one thing a stream must do. Checks return errors and touch no testing.T, so that they can run
// under a time limit, and so that the suite's own tests can see them fail.
type check struct {
	name string
	run  func(p *pair) error
}

// Conformance runs one subtest for each thing that a stream must do, each on a new connected pair.
//
// a is the implementation under test. b is its far end: what a writes b reads, and the other way round. Of b
// only Read, Write, CloseWrite, Close and transport.Abort are used, and nothing is asked of it but that it
// tells a clean end from a broken one. Nothing between a and b needs to buffer. Both are closed when the
// subtest ends. The checks of transport.HeadroomWriter and transport.WaitReader are skipped when a has no
// such methods.
func Conformance(t *testing.T, open func(t *testing.T) (a, b transport.StreamConn)) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			a, b := open(t)
			err := c.examine(a, b, limit)
			if errors.Is(err, errNotImplemented) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func checks() []check {
	return slices.Concat(dataChecks(), halfCloseChecks(), deadlineChecks(), closeChecks(), abortChecks(),
		headroomChecks(), waitReadChecks())
}
