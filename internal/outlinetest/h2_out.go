package outlinetest

import (
	"bufio"
	"bytes"
	"errors"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	frameHeader = 9    // RFC 9113, section 4.1
	controlsMax = 8192 // control frames that wait for a client that does not read
)

// h2Out is the one place that writes to a connection. Streams write their data themselves; control frames
// wait in a queue, so that the reader never has to.
type h2Out struct {
	framer *http2.Framer
	buf    *bufio.Writer // what framer writes to
	broken func()        // called when writing failed

	writing sync.Mutex // held while frames are written
	encoder *hpack.Encoder
	block   bytes.Buffer // what encoder writes to

	mu     sync.Mutex // never held while something is written
	queue  []func() error
	closed bool
	ready  *sync.Cond // on mu: queue or closed changed
}

func newH2Out(framer *http2.Framer, buf *bufio.Writer, broken func()) *h2Out {
	o := &h2Out{framer: framer, buf: buf, broken: broken}
	o.encoder = hpack.NewEncoder(&o.block)
	o.ready = sync.NewCond(&o.mu)
	return o
}

// control queues a function that writes frames.
func (o *h2Out) control(write func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.queue = append(o.queue, write)
	o.ready.Signal()
	if len(o.queue) > controlsMax {
		o.broken()
	}
}

// run writes the queue until close.
func (o *h2Out) run() {
	for {
		o.mu.Lock()
		for len(o.queue) == 0 && !o.closed {
			o.ready.Wait()
		}
		batch := o.queue
		o.queue = nil
		o.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		o.writing.Lock()
		var err error
		for _, write := range batch {
			err = errors.Join(err, write())
		}
		_ = o.flush(err)
		o.writing.Unlock()
	}
}

// close lets run end after what is queued.
func (o *h2Out) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.ready.Signal()
}

// flush ends a write under the lock.
func (o *h2Out) flush(err error) error {
	if err == nil {
		err = o.buf.Flush()
	}
	if err != nil {
		o.broken()
	}
	return err
}

// data writes a frame of a stream that may still send.
func (o *h2Out) data(s *h2Stream, p []byte) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	if err := s.sendable(); err != nil {
		return err
	}
	return o.flush(o.framer.WriteData(s.id, false, p))
}

// headers writes the head of a response.
func (o *h2Out) headers(s *h2Stream, fields []hpack.HeaderField) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	if err := s.sendable(); err != nil {
		return err
	}
	o.block.Reset()
	for _, field := range fields {
		if err := o.encoder.WriteField(field); err != nil {
			return o.flush(err)
		}
	}
	return o.flush(o.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: s.id, BlockFragment: o.block.Bytes(), EndHeaders: true,
	}))
}
