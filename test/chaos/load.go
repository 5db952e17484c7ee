package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// A flow holds its connection until it is about as old as this, so that there are as many flows at a time as
// asked for, and a machine with two cores has time left.
const (
	shortHold = time.Second
	longHold  = 2 * time.Second
	// failPause keeps flows that fail at once from filling the machine.
	failPause = 250 * time.Millisecond
)

// weights are how many of a hundred flows are of each kind.
var weights = map[kind]int{tlsFlow: 35, getFlow: 30, postFlow: 20, downloadFlow: 15}

// pick returns the kind of a flow for a number from 0 to 99.
func pick(n int) kind {
	for _, k := range kinds {
		if n -= weights[k]; n < 0 {
			return k
		}
	}
	return getFlow
}

// load is what keeps flows going.
type load struct{ running sync.WaitGroup }

// startLoad keeps flows going until ctx ends.
func startLoad(ctx context.Context, b *book, w *world, flows int) *load {
	l := &load{}
	l.running.Go(func() { w.association.run(ctx) })
	l.running.Go(func() { measureLag(ctx, b) })
	for i := range flows {
		l.running.Go(func() { work(ctx, b, w.driver, i, flows) })
	}
	return l
}

// wait waits for the last flows.
func (l *load) wait() { l.running.Wait() }

// work makes one flow after another. Workers start one by one.
func work(ctx context.Context, b *book, d driver, worker, of int) {
	wait(ctx, longHold*time.Duration(worker)/time.Duration(of))
	for n := 0; ctx.Err() == nil; n++ {
		hold := shortHold + rand.N(longHold-shortHold)
		began := time.Since(b.began)
		f := d.run(ctx, pick(rand.IntN(100)), fmt.Sprintf("%d-%d", worker, n), hold)
		f.began = began
		b.add(f)
		if f.fate != whole {
			wait(ctx, failPause)
		}
	}
}

// wait waits for d, or less if ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// lagEvery is how often the lag of the machine is measured.
const lagEvery = 20 * time.Millisecond

// measureLag notes how much later than it should a goroutine gets to run.
func measureLag(ctx context.Context, b *book) {
	for ctx.Err() == nil {
		due := time.Now().Add(lagEvery)
		wait(ctx, lagEvery)
		b.lag(time.Since(due))
	}
}
