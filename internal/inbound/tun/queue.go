package tun

import (
	"os"
	"sync"

	"github.com/outline-cli-ws/outline-cli-ws/internal/ippacket"
)

// Bounds of what waits for upstream sockets, most of it while those are being opened.
const (
	maxQueued      = 2048     // packets of one association: 100 ms of 20,000 a second, on a busy host
	maxQueuedBytes = 16 << 20 // of all
)

// smallPayload is what nearly every datagram fits.
const smallPayload = 2048

// queuedPacket is a datagram of a client. It has room of its own, or a larger payload on the heap.
type queuedPacket struct {
	ippacket.UDP
	next *queuedPacket
	room [smallPayload]byte
}

// cost is the memory that the packet holds while it waits.
func (q *queuedPacket) cost() int64 { return int64(max(len(q.Payload), smallPayload)) }

// queue is the datagrams of an association that its goroutine has not taken yet. push may be called
// concurrently; wait and pop are for one goroutine.
type queue struct {
	ready chan struct{} // something came, or the end

	mu         sync.Mutex
	head, tail *queuedPacket
	length     int
	ended      bool
}

// push reports whether there was room.
func (q *queue) push(p *queuedPacket) bool {
	q.mu.Lock()
	if q.ended || q.length >= maxQueued {
		q.mu.Unlock()
		return false
	}
	if q.tail == nil {
		q.head = p
	} else {
		q.tail.next = p
	}
	q.tail = p
	q.length++
	first := q.length == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
	return true
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// wait blocks until there is something to pop, or the end.
func (q *queue) wait() error {
	for {
		q.mu.Lock()
		some, ended := q.length > 0, q.ended
		q.mu.Unlock()
		switch {
		case ended:
			return os.ErrDeadlineExceeded
		case some:
			return nil
		}
		<-q.ready
	}
}

// pop returns nil when there is nothing.
func (q *queue) pop() *queuedPacket {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.head
	if p == nil {
		return nil
	}
	q.head, p.next = p.next, nil
	if q.head == nil {
		q.tail = nil
	}
	q.length--
	return p
}

// end makes wait fail, and push.
func (q *queue) end() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.signal()
}
