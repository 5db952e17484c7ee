package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// cutTime is how long the resets after a second signal may take.
const cutTime = 2 * time.Second

// signals turns signals into contexts. The first one ends stop, so that flows can finish; the second ends
// cut, so that they are reset: exiting at once would let the kernel end them cleanly, and what they got would
// look complete.
type signals struct {
	stop, cut context.Context //nolint:containedctx // they are what this type is for

	coming   chan os.Signal
	done     chan struct{}
	watching sync.WaitGroup
}

// watchSignals begins. A terminal that goes away stops the program as Ctrl-C does; a reader of the log that
// goes away is no reason to.
func watchSignals() *signals {
	s := &signals{coming: make(chan os.Signal, 2), done: make(chan struct{})}
	var endStop, endCut context.CancelFunc
	s.stop, endStop = context.WithCancel(context.Background())
	s.cut, endCut = context.WithCancel(context.Background())
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(s.coming, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	s.watching.Go(func() { s.watch(endStop, endCut) })
	return s
}

func (s *signals) watch(ends ...context.CancelFunc) {
	for _, end := range ends {
		select {
		case <-s.coming:
			end()
		case <-s.done:
			return
		}
	}
	select {
	case <-time.After(cutTime):
		os.Exit(exitKilled)
	case <-s.coming:
		os.Exit(exitKilled)
	case <-s.done:
	}
}

// close ends the watching.
func (s *signals) close() {
	signal.Stop(s.coming)
	close(s.done)
	s.watching.Wait()
}
