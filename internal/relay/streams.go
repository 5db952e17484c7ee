package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// lastWords is how long the answer may still take once the way to the target is broken: it is in flight or it
// never comes.
const lastWords = 2 * time.Second

// ErrSilent says that nothing moved in a flow for longer than its limit.
var ErrSilent = fmt.Errorf("nothing moved for too long: %w", os.ErrDeadlineExceeded)

// Limits bound the silence of a flow. Both are noticed up to a quarter late.
type Limits struct {
	Idle     time.Duration // silence after which a flow open both ways is reset; 0 = never
	HalfOpen time.Duration // the same once one half has ended; 0 = never
}

// Result is what a flow carried and how it ended.
type Result struct {
	Sent     int64 // bytes from the client to the target
	Received int64 // bytes from the target to the client
	Err      error // nil only for a flow that ended cleanly both ways
}

// Streams relays between client and target until both halves have ended, then closes both. A half that ends
// passes on as CloseWrite while the other half goes on. When something breaks, the silence exceeds its limit or
// ctx ends, both are aborted, so that neither side takes what it got for complete.
func Streams(ctx context.Context, client, target transport.StreamConn, l Limits) Result {
	f := &flow{client: client, target: target, limits: l}
	f.silence = silence{moved: f.bytes.moved, expired: func() { f.fail(ErrSilent) }}
	f.silence.setLimit(l.Idle)
	defer f.silence.stop()
	stop := context.AfterFunc(ctx, func() { f.fail(context.Cause(ctx)) })
	defer stop()

	var sending sync.WaitGroup
	sending.Go(f.send)
	f.receive()
	sending.Wait()
	return f.finish()
}

// flow is one conversation. Two goroutines serve it, one a direction.
type flow struct {
	client, target transport.StreamConn
	limits         Limits
	bytes          counters
	silence        silence

	mu    sync.Mutex
	err   error // the first failure
	ended int   // halves that ended
}

// send carries the client's bytes to the target. When the target's side breaks, the other half may still hold the
// answer that explains it, so the flow has a moment to deliver that.
func (f *flow) send() {
	err := copyStream(f.target, f.client, &f.bytes.sent)
	if _, ok := errors.AsType[*writeError](err); ok {
		f.note(fmt.Errorf("write to target: %w", err))
		_ = f.target.SetReadDeadline(time.Now().Add(lastWords)) // fails on a closed stream, which needs none
		return
	}
	f.end(err, "read from client")
}

func (f *flow) receive() {
	err := copyStream(f.client, f.target, &f.bytes.received)
	if _, ok := errors.AsType[*writeError](err); ok {
		f.end(err, "write to client")
		return
	}
	f.end(err, "read from target")
}

// end records how a half ended: cleanly, which starts the half-open limit, or by a failure, which ends the flow.
func (f *flow) end(err error, doing string) {
	if err != nil {
		f.fail(fmt.Errorf("%s: %w", doing, err))
		return
	}
	f.mu.Lock()
	f.ended++
	half := f.ended == 1
	f.mu.Unlock()
	if half {
		f.silence.setLimit(f.limits.HalfOpen)
	}
}

// note keeps the first failure, which is the cause of those that follow.
func (f *flow) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

// fail ends both directions with a reset.
func (f *flow) fail(err error) {
	f.note(err)
	_ = transport.Abort(f.target)
	_ = transport.Abort(f.client)
}

// finish closes both sides once both directions are done.
func (f *flow) finish() Result {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err == nil {
		// Both halves ended before; what Close could still report changes nothing for either side.
		_ = f.target.Close()
		_ = f.client.Close()
	} else {
		f.fail(err)
	}
	return Result{Sent: f.bytes.sent.Load(), Received: f.bytes.received.Load(), Err: err}
}

// writeError marks an error of the destination, to tell it from one of the source.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// copyStream moves everything from src to dst, counts it, and passes EOF on as CloseWrite. It allocates nothing
// per chunk.
func copyStream(dst, src transport.StreamConn, count *atomic.Int64) error {
	write, room := newSink(dst)
	from := newSource(src)
	for {
		buf, n, err := from.next(room)
		if err == io.EOF { //nolint:errorlint // a wrapped EOF is no clean end
			return closeWrite(dst)
		}
		if err != nil {
			return err
		}
		count.Add(int64(n))
		err = write(buf, n)
		buffers.Put(buf)
		if err != nil {
			return &writeError{err}
		}
	}
}

// closeWrite passes EOF on. A destination that is gone already has nothing to learn.
func closeWrite(dst transport.StreamConn) error {
	if err := dst.CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) {
		return &writeError{err}
	}
	return nil
}

// newSink returns how dst takes n bytes that stand in a buffer from room.Front on.
func newSink(dst transport.StreamConn) (write func(buf *buffer, n int) error, room transport.Headroom) {
	if h, ok := dst.(transport.HeadroomWriter); ok {
		room = h.Headroom()
		if room.Max > 0 && room.Front+room.Max+room.Back <= bufferSize {
			return func(buf *buffer, n int) error {
				return h.WriteHeadroom(buf[:room.Front+n+room.Back], room.Front, room.Back)
			}, room
		}
	}
	return func(buf *buffer, n int) error {
		_, err := dst.Write(buf[:n])
		return err
	}, transport.Headroom{Max: bufferSize}
}
