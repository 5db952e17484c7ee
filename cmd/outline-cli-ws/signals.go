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
// look complete. SIGHUP reloads.
type signals struct {
	stop, cut context.Context //nolint:containedctx // they are what this type is for

	coming   chan os.Signal
	hangups  chan os.Signal
	done     chan struct{}
	watching sync.WaitGroup
	terminal bool // there was one, and its end is to be ours
}

// watchSignals begins. A terminal that goes away sends SIGHUP too, and stops the program as Ctrl-C does,
// unless it was started to outlive it (nohup); a reader of the log that goes away is no reason to.
func watchSignals(reload func()) *signals {
	s := &signals{
		coming: make(chan os.Signal, 2), hangups: make(chan os.Signal, 1), done: make(chan struct{}),
		terminal: hasTerminal() && !signal.Ignored(syscall.SIGHUP),
	}
	var endStop, endCut context.CancelFunc
	s.stop, endStop = context.WithCancel(context.Background())
	s.cut, endCut = context.WithCancel(context.Background())
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(s.coming, os.Interrupt, syscall.SIGTERM)
	signal.Notify(s.hangups, syscall.SIGHUP)
	s.watching.Go(func() { s.watch(endStop, endCut) })
	s.watching.Go(func() { s.hangUp(reload) })
	return s
}

// hangUp reloads for every SIGHUP, one after the other.
func (s *signals) hangUp(reload func()) {
	for {
		select {
		case <-s.done:
			return
		case sig := <-s.hangups:
			if !s.terminal || hasTerminal() {
				reload()
				continue
			}
			select {
			case s.coming <- sig:
			default: // it is told to stop already
			}
		}
	}
}

// hasTerminal reports whether the program has a controlling terminal.
func hasTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	_ = tty.Close()
	return true
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
	signal.Stop(s.hangups)
	close(s.done)
	s.watching.Wait()
}
