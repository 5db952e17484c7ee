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

// goneLimit is how long a flow in which nothing moves may outlive its client.
const goneLimit = 2 * time.Minute

// errClientGone says that the client left while its upload waited for the target.
var errClientGone = errors.New("client is gone")

var (
	// ErrSilent says that nothing moved in a flow for longer than its limit.
	ErrSilent = fmt.Errorf("nothing moved for too long: %w", os.ErrDeadlineExceeded)
	// ErrUnanswered says that nothing at all came back. Some servers say nothing for ever to a secret that
	// they do not know.
	ErrUnanswered = fmt.Errorf("no answer to what the client sent (is the secret right?): %w",
		os.ErrDeadlineExceeded)
)

// Limits bound the silence of a flow. All are noticed up to a quarter late.
type Limits struct {
	// Answer is the silence after which a flow is reset in which the client has sent something, has not ended
	// its half, and has never got a byte back; 0 = never.
	Answer   time.Duration
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
// passes on as CloseWrite while the other half goes on. When something breaks, the silence exceeds its
// limit or ctx ends, both are aborted, so that neither side takes what it got for complete. Nothing of the
// flow runs any more when Streams returns.
func Streams(ctx context.Context, client, target transport.StreamConn, l Limits) Result {
	f := &flow{client: client, target: target, limits: l}
	f.silence = silence{moved: f.bytes.moved, expired: func() { f.fail(ErrSilent) }}
	f.unanswered = silence{
		moved: f.bytes.moved, matters: f.awaitsAnswer, expired: func() { f.fail(ErrUnanswered) },
	}
	f.abandoned = silence{
		moved: f.bytes.moved, matters: f.clientGone, expired: func() { f.fail(errClientGone) },
	}
	f.silence.setLimit(l.Idle)
	f.abandoned.setLimit(goneLimit)
	f.unanswered.setLimit(l.Answer)
	revoke := whenDone(ctx, func() { f.fail(context.Cause(ctx)) })

	var sending sync.WaitGroup
	sending.Go(f.send)
	f.receive()
	sending.Wait()
	revoke()
	f.silence.stop()
	f.unanswered.stop()
	f.abandoned.stop()
	return f.finish()
}

// whenDone calls f when ctx ends. revoke takes that back, or waits for f if it was called.
func whenDone(ctx context.Context, f func()) (revoke func()) {
	var running sync.WaitGroup
	running.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer running.Done()
		f()
	})
	return func() {
		if !stop() {
			running.Wait()
		}
	}
}

// flow is one conversation. Two goroutines serve it, one a direction.
type flow struct {
	client, target transport.StreamConn
	limits         Limits
	bytes          counters
	silence        silence
	unanswered     silence
	abandoned      silence

	mu    sync.Mutex
	err   error // the first failure
	ended int   // halves that ended cleanly
}

// send carries the client's bytes to the target. When the target's side breaks, the other half may still
// hold the answer that explains it, so the flow has a moment to deliver that.
func (f *flow) send() {
	readErr, writeErr := copyStream(f.target, f.client, &f.bytes.sent)
	if readErr == nil && writeErr == nil {
		writeErr = f.target.CloseWrite()
	}
	switch {
	case readErr != nil:
		f.fail(fmt.Errorf("read from client: %w", readErr))
	case writeErr != nil:
		f.note(fmt.Errorf("write to target: %w", writeErr))
		soon := time.Now().Add(lastWords)
		_ = f.target.SetReadDeadline(soon) // these fail on a closed stream, which needs none
		_ = f.client.SetWriteDeadline(soon)
	default:
		f.end()
	}
}

// receive carries the target's bytes to the client. Behind a broken upload not even a complete answer ends
// cleanly.
func (f *flow) receive() {
	readErr, writeErr := copyStream(f.client, f.target, &f.bytes.received)
	if readErr == nil && writeErr == nil && f.failure() == nil {
		writeErr = f.client.CloseWrite()
	}
	switch {
	case readErr != nil:
		f.fail(fmt.Errorf("read from target: %w", readErr))
	case writeErr != nil:
		f.fail(fmt.Errorf("write to client: %w", writeErr))
	default:
		f.end()
	}
}

// end counts a half that ended; after the first the half-open limit is in force.
func (f *flow) end() {
	f.mu.Lock()
	f.ended++
	half := f.ended == 1
	f.mu.Unlock()
	if half {
		f.silence.setLimit(f.limits.HalfOpen)
	}
}

// awaitsAnswer says whether the client waits for the first byte of an answer.
func (f *flow) awaitsAnswer() verdict {
	f.mu.Lock()
	ended := f.ended
	f.mu.Unlock()
	switch {
	case ended > 0 || f.bytes.received.Load() > 0:
		return nevermore
	case f.bytes.sent.Load() == 0:
		return notYet
	}
	return counts
}

// clientGone says whether silence is that of a flow without a client.
func (f *flow) clientGone() verdict {
	if gone(f.client) {
		return counts
	}
	return notYet
}

// gone reports whether the far end of c has reset it or closed both halves. While the relay waits to write
// to the target it does not read the client, and would not learn of it otherwise.
func gone(c net.Conn) bool {
	if w, ok := c.(transport.GoneWatcher); ok {
		return w.Gone()
	}
	return socketGone(c)
}

// note keeps the first failure, which is the cause of those that follow.
func (f *flow) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *flow) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// fail ends both directions with a reset.
func (f *flow) fail(err error) {
	f.note(err)
	_ = transport.Abort(f.target)
	_ = transport.Abort(f.client)
}

// finish closes both sides once both directions are done and nobody fails the flow any more.
func (f *flow) finish() Result {
	err := f.failure()
	if err == nil {
		// Both halves ended before; what Close could still report changes nothing for either side.
		_ = f.target.Close()
		_ = f.client.Close()
	} else {
		f.fail(err)
	}
	return Result{Sent: f.bytes.sent.Load(), Received: f.bytes.received.Load(), Err: err}
}

// copyStream moves everything from src to dst and counts what dst took. Both errors are nil after src's
// clean end. It allocates nothing per chunk.
func copyStream(dst, src transport.StreamConn, count *atomic.Int64) (readErr, writeErr error) {
	write, room := newSink(dst)
	from := newSource(src)
	for {
		buf, n, err := from.next(room)
		if err == io.EOF { //nolint:errorlint // a wrapped EOF is no clean end
			return nil, nil
		}
		if err != nil {
			return err, nil
		}
		err = write(buf, n)
		buffers.Put(buf)
		if err != nil {
			return nil, err
		}
		count.Add(int64(n))
	}
}

// newSink returns how dst takes n bytes that stand in a buffer from room.Front on.
func newSink(dst transport.StreamConn) (write func(buf *buffer, n int) error, room transport.Headroom) {
	if h, ok := dst.(transport.HeadroomWriter); ok {
		room = h.Headroom()
		room.Max = min(room.Max, bufferSize-room.Front-room.Back)
		if room.Max > 0 {
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
