package h2

import (
	"io"
	"net"
	"sync"
)

// maxControl bounds what waits to be sent on behalf of the connection. A server that makes us owe it more
// than this does not read what it asked for.
const maxControl = 64 << 10

// output is the sending side of a connection: writers take turns, in the order in which they came, and hold
// the turn for one frame.
type output struct {
	dst  io.Writer
	turn chan struct{} // holds the token of whoever writes
	done chan struct{} // closed by the connection when it ends

	mu      sync.Mutex
	control []byte        // frames of the connection itself, which go out behind the next one
	spare   []byte        // the other buffer
	kick    chan struct{} // wakes whoever sends control frames when nobody else writes
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

// write sends p and then the control frames that wait, so that the end of a stream never overtakes its last
// frame. The caller has the turn.
func (o *output) write(p []byte) error {
	if _, err := o.dst.Write(p); err != nil {
		return err
	}
	return o.flush()
}

// flush sends the control frames that wait. The caller has the turn.
func (o *output) flush() error {
	o.mu.Lock()
	frames := o.control
	o.control, o.spare = o.spare[:0], frames
	o.mu.Unlock()
	if len(frames) == 0 {
		return nil
	}
	_, err := o.dst.Write(frames)
	return err
}

// queue adds control frames and never waits. It fails when too many wait already.
func (o *output) queue(appendFrames func(b []byte) []byte) error {
	o.mu.Lock()
	o.control = appendFrames(o.control)
	n := len(o.control)
	o.mu.Unlock()
	if n > maxControl {
		return &connError{CodeEnhanceYourCalm, "server does not read the answers that it asks for"}
	}
	select {
	case o.kick <- struct{}{}:
	default:
	}
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
		err := o.flush()
		o.end()
		if err != nil {
			return err
		}
	}
}
