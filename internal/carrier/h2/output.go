package h2

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// maxControl bounds what waits to be sent on behalf of the connection. A server that makes us owe it more
	// than this does not read what it asked for.
	maxControl = 64 << 10
	// roomMade is how long a write takes at least that had to wait for the server to take older bytes.
	roomMade = 20 * time.Millisecond
)

// output is the sending side of a connection: writers take turns, in the order in which they came, and hold
// the turn for one frame.
type output struct {
	dst   io.Writer
	turn  chan struct{}     // holds the token of whoever writes
	done  chan struct{}     // closed by the connection when it ends
	trace func(frameHeader) // told of every frame; nil: nobody is

	mu      sync.Mutex
	control []byte        // frames of the connection itself, which go out behind the next one
	spare   []byte        // the other buffer
	kick    chan struct{} // wakes whoever sends control frames when nobody else writes
	began   time.Time     // when the write under way began; zero if there is none
	moved   time.Time     // when a write last ended that had waited for room
}

func newOutput(dst io.Writer, done chan struct{}) *output {
	return &output{dst: dst, turn: make(chan struct{}, 1), done: done, kick: make(chan struct{}, 1)}
}

// begin waits for our turn, unless one of the channels is closed or the connection ends first.
func (o *output) begin(abandoned, late <-chan struct{}) bool {
	select {
	case o.turn <- struct{}{}:
		return true
	case <-abandoned:
	case <-late:
	case <-o.done:
	}
	return false
}

func (o *output) end() { <-o.turn }

// write sends the frames in p and then the control frames that wait, so that the end of a stream never
// overtakes its last frame. It reports whether p left as a whole, whatever failed behind it. The caller has
// the turn.
func (o *output) write(p []byte) (whole bool, err error) {
	if err := o.put(p); err != nil {
		return false, err
	}
	return true, o.flush(nil)
}

// flush sends the control frames that wait, and last behind them. The caller has the turn.
func (o *output) flush(last []byte) error {
	o.mu.Lock()
	frames := append(o.control, last...)
	o.control, o.spare = o.spare[:0], frames
	o.mu.Unlock()
	if len(frames) == 0 {
		return nil
	}
	return o.put(frames)
}

// put writes p, and notes what the watcher wants to know about it.
func (o *output) put(p []byte) error {
	if o.trace != nil {
		traceFrames(p, o.trace)
	}
	began := time.Now()
	o.mu.Lock()
	o.began = began
	o.mu.Unlock()
	_, err := o.dst.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.began = time.Time{}
	if now := time.Now(); err == nil && now.Sub(began) >= roomMade {
		o.moved = now
	}
	return err
}

// progress is when the write under way began, zero if there is none, and when the server last showed that it
// takes what we send.
func (o *output) progress() (began, moved time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.began, o.moved
}

// queue adds control frames and never waits. It fails when too many wait already.
func (o *output) queue(appendFrames func(b []byte) []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.control) > maxControl {
		return &violation{CodeEnhanceYourCalm, "server does not read the answers that it asks for"}
	}
	o.control = appendFrames(o.control)
	signal(o.kick)
	return nil
}

// serve sends control frames while nobody else writes, until the connection ends.
func (o *output) serve() error {
	for {
		select {
		case <-o.kick:
		case <-o.done:
			return net.ErrClosed
		}
		if !o.begin(nil, nil) {
			return net.ErrClosed
		}
		err := o.flush(nil)
		o.end()
		if err != nil {
			return err
		}
	}
}

// signal leaves a token in c, which has room for one, unless there is one already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// traceFrames shows every frame in p, which holds whole ones.
func traceFrames(p []byte, show func(frameHeader)) {
	for len(p) >= frameHeaderLen {
		h := parseFrameHeader((*[frameHeaderLen]byte)(p))
		show(h)
		p = p[min(frameHeaderLen+h.length, len(p)):]
	}
}
