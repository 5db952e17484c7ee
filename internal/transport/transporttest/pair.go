package transporttest

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// grace is what is left to hung calls to end after both sides were aborted.
const grace = time.Second

// pair is what a check works on. Whatever it starts ends, at the latest, when both sides are aborted.
type pair struct {
	a, b    transport.StreamConn
	running sync.WaitGroup
}

// examine runs the check and returns what it found, or a report with all stacks when it is not done in time.
func (c check) examine(a, b transport.StreamConn, limit time.Duration) error {
	p := &pair{a: a, b: b}
	found := make(chan error, 1) // sent once, when the check is over
	ended := make(chan struct{}) // closed when nothing of the check runs any more
	go func() {
		defer close(ended)
		found <- guard(func() error { return c.run(p) })
		p.abort()
		p.running.Wait()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var err error
	select {
	case err = <-found:
	case <-timer.C:
		return hung(p, ended, fmt.Errorf("%s: not done after %v; a call hangs:\n%s", c.name, limit, stacks()))
	}
	select {
	case <-ended:
		return err
	case <-timer.C:
		return hung(p, ended, fmt.Errorf("%s: a call hangs after both sides were aborted (and: %w):\n%s",
			c.name, orNone(err), stacks()))
	}
}

// hung aborts both sides, waits a little for what that frees, and returns err.
func hung(p *pair, ended <-chan struct{}, err error) error {
	go p.abort() // may hang itself
	select {
	case <-ended:
	case <-time.After(grace):
	}
	return err
}

// abort frees whoever is blocked on either side.
func (p *pair) abort() {
	for _, c := range []transport.StreamConn{p.a, p.b} {
		_ = guard(func() error { return transport.Abort(c) })
	}
}

// start runs f and sends what it returns. Nobody needs to receive it.
func (p *pair) start(f func() error) <-chan error {
	done := make(chan error, 1)
	p.running.Go(func() { done <- guard(f) })
	return done
}

// together runs all of fs at the same time. It returns the first error without waiting for the rest, because
// the rest may wait for what failed; or nil when all are done.
func (p *pair) together(fs ...func() error) error {
	done := make(chan error, len(fs))
	for _, f := range fs {
		p.running.Go(func() { done <- guard(f) })
	}
	for range fs {
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

// guard turns a panic of f into an error, so that it fails one check and not the test binary.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			buf := make([]byte, 8<<10)
			err = fmt.Errorf("panic: %v\n%s", v, buf[:runtime.Stack(buf, false)])
		}
	}()
	return f()
}

func stacks() []byte {
	buf := make([]byte, 64<<10)
	return buf[:runtime.Stack(buf, true)]
}
