package transporttest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// halfSize is how much one way of a Pipe holds before Write blocks.
const halfSize = 64 << 10

// half is one way of a Pipe.
type half struct {
	mu      sync.Mutex
	changed *sync.Cond // broadcast at every change of what is below
	data    []byte     // written and not read, at most halfSize

	ended        bool // the writer called CloseWrite or Close
	writerClosed bool
	readerClosed bool
	unwanted     bool // the reader called CloseRead
	reset        bool // either side was aborted

	readDeadline, writeDeadline deadline
}

func newHalf() *half {
	h := &half{}
	h.changed = sync.NewCond(&h.mu)
	return h
}

// update changes h and wakes whoever waits on it.
func (h *half) update(change func(h *half)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
	if h.readerClosed && h.writerClosed {
		h.readDeadline.stop()
		h.writeDeadline.stop()
	}
	h.changed.Broadcast()
}

// wake lets the waiters look again. It takes the lock so that none is between its look and its wait.
func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed.Broadcast()
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readerClosed:
			return 0, net.ErrClosed
		case h.readDeadline.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case h.reset:
			return 0, syscall.ECONNRESET
		case len(h.data) > 0:
			n := copy(p, h.data)
			h.data = h.data[n:]
			h.changed.Broadcast()
			return n, nil
		case h.ended, h.unwanted:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.writerClosed:
			return n, net.ErrClosed
		case h.writeDeadline.passed():
			return n, os.ErrDeadlineExceeded
		case h.reset:
			return n, syscall.ECONNRESET
		case h.ended, h.readerClosed:
			return n, syscall.EPIPE
		case h.unwanted:
			return n + len(p), nil
		}
		m := min(len(p), halfSize-len(h.data))
		h.data = append(h.data, p[:m]...)
		n, p = n+m, p[m:]
		h.changed.Broadcast()
		if len(p) == 0 {
			return n, nil
		}
		h.changed.Wait()
	}
}

// deadline belongs to a half and is guarded by its mutex.
type deadline struct {
	at    time.Time
	timer *time.Timer // wakes the waiters when it is time
}

func (d *deadline) set(h *half, at time.Time) {
	d.stop()
	d.at = at
	if wait := time.Until(at); !at.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, h.wake)
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *deadline) passed() bool {
	return !d.at.IsZero() && !time.Now().Before(d.at)
}
