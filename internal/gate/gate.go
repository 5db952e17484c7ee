package gate

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Why there is no room.
var (
	ErrFlows  = errors.New("too many flows")
	ErrMemory = errors.New("memory is short")
)

const (
	// patience is how long a flow waits for room. It is less than what people wait before they try again.
	patience = 3 * time.Second
	// again is when a flow looks once more although nobody has left: memory comes back without a sign.
	again = 50 * time.Millisecond
)

// Limits are how much there is room for. The zero value lets everybody in.
type Limits struct {
	Streams int   // at once; 0 = any number
	Packets int   // associations at once; 0 = any number
	Waiting int   // of each kind, for room; what comes beyond is refused at once. 0 = any number
	Process int64 // bytes that the process may take, without its text; 0 = not looked at
	Heap    int64 // bytes of these that the Go runtime is told to keep to
}

// Options are what a gate works with. The zero value looks at this process and gives nothing up.
type Options struct {
	Logger *slog.Logger // nil logs nothing
	// GiveUp ends the newest flows for a cause, one in so many, and returns how many these were.
	GiveUp func(oneIn int, cause error) int
	Memory Memory // nil is that of this process
}

// Gate counts the flows that are inside and looks after memory. Its methods may be called concurrently, Run
// once at a time.
type Gate struct {
	options Options
	limits  atomic.Pointer[Limits]
	changed chan struct{} // says that limits have; holds one
	short   atomic.Bool   // memory is; set by Run
	givenUp atomic.Uint64

	streams, packets line
}

// New returns a gate without limits.
func New(o Options) *Gate {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Memory == nil {
		o.Memory = newRuntimeMemory()
	}
	g := &Gate{options: o, changed: make(chan struct{}, 1)}
	g.streams.open()
	g.packets.open()
	g.limits.Store(new(Limits))
	return g
}

// Update changes the limits. Flows that are inside stay.
func (g *Gate) Update(l Limits) {
	g.limits.Store(&l)
	g.streams.most.Store(int64(l.Streams))
	g.packets.most.Store(int64(l.Packets))
	signal(g.changed)
}

// Enter lets a flow of a protocol in, which is "tcp" or "udp". It waits for room for up to 3 s, in the order
// of the calls, or until ctx ends. The flow calls leave, once, at its end. An error is ErrFlows, ErrMemory or
// ctx's cause.
func (g *Gate) Enter(ctx context.Context, proto string) (leave func(), err error) {
	l := &g.streams
	if proto == "udp" {
		l = &g.packets
	}
	if l.waiting.Load() == 0 && g.admit(l) {
		return l.leave, nil
	}
	switch err := g.wait(ctx, l); {
	case err == nil:
		return l.leave, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	if g.short.Load() {
		l.refusedMemory.Add(1)
		return nil, ErrMemory
	}
	l.refusedFlows.Add(1)
	return nil, ErrFlows
}

// admit takes a place if there is room.
func (g *Gate) admit(l *line) bool { return !g.short.Load() && l.take() }

// wait waits for its turn, and then for room.
func (g *Gate) wait(ctx context.Context, l *line) error {
	defer l.waiting.Add(-1)
	if n := l.waiting.Add(1); g.crowded(n) {
		return errCrowd
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-l.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer signal(l.turn)
	look := time.NewTicker(again)
	defer look.Stop()
	for !g.admit(l) {
		select {
		case <-l.left:
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

var errCrowd = errors.New("too many wait")

// crowded reports whether waiting are more than may wait.
func (g *Gate) crowded(waiting int64) bool {
	most := int64(g.limits.Load().Waiting)
	return most > 0 && waiting > most
}
