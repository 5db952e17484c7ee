package dnsforward

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// dialTimeout bounds the opening of a way to a server. Queries give up sooner, the next ones find it
	// open.
	dialTimeout = 10 * time.Second
	// idleTimeout is after which a way without queries is closed; servers close theirs about as soon.
	idleTimeout = 10 * time.Second
)

var (
	errSilent = errors.New("no answer in time")
	errLost   = errors.New("connection to the dns server was lost")
)

// messages is an open way to a server: whole DNS messages there and back.
type messages interface {
	// read returns the next message, which is the caller's. It is for one goroutine.
	read() ([]byte, error)
	// write may be called concurrently.
	write(message []byte) error
	// close unblocks the others.
	close()
}

// channel is the way to a server over one protocol, opened when there are queries and closed when there were
// none for a while.
type channel struct {
	forwarder *Forwarder
	open      func(ctx context.Context) (messages, error)
	replace   bool // a link on which nothing comes; datagrams need no other socket

	mu   sync.Mutex
	link *link // of the moment, or nil
}

// exchange asks and waits for the answer, for as long as limit. A way that breaks meanwhile is opened once
// more: servers may close one at any time (RFC 7766, section 6.2.1).
func (c *channel) exchange(ctx context.Context, query []byte, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSilent)
	defer cancel()
	answer, err := c.exchangeOnce(ctx, query)
	if errors.Is(err, errLost) {
		answer, err = c.exchangeOnce(ctx, query)
	}
	return answer, err
}

func (c *channel) exchangeOnce(ctx context.Context, query []byte) ([]byte, error) {
	l, err := c.current()
	if err != nil {
		return nil, err
	}
	select {
	case <-l.opened:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if l.err != nil {
		return nil, l.err
	}
	return l.ask(ctx, query)
}

// current returns the link of the moment, which may be about to be opened.
func (c *channel) current() (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		return c.link, nil
	}
	l := &link{channel: c, opened: make(chan struct{}), waiting: make(map[uint16]*waiter)}
	if err := c.forwarder.start(l.run); err != nil {
		return nil, err
	}
	c.link = l
	return l, nil
}

// forget makes room for the next link.
func (c *channel) forget(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		c.link = nil
	}
}

// link is one connection or socket, on which many queries are under way. It has one goroutine, which opens
// and reads it.
type link struct {
	channel *channel
	opened  chan struct{} // closed when conn or err is set
	conn    messages
	err     error

	mu      sync.Mutex
	lost    bool
	waiting map[uint16]*waiter // by the id on the wire
	used    time.Time
	heard   time.Time
	idle    *time.Timer
}

// waiter is a query that waits for its answer.
type waiter struct {
	query  []byte
	answer chan []byte // gets one, or is closed when the link is lost
}

// run opens the link and reads it until it breaks, is idle, or the forwarder is closed.
func (l *link) run() {
	f := l.channel.forwarder
	ctx, cancel := context.WithTimeout(f.ctx, dialTimeout)
	l.conn, l.err = l.channel.open(ctx)
	cancel()
	close(l.opened)
	if l.err != nil {
		l.channel.forget(l)
		return
	}
	stop := context.AfterFunc(f.ctx, l.conn.close)
	l.watch()
	l.read()
	stop()
	l.end()
}

// watch has the link closed when it is idle.
func (l *link) watch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = time.AfterFunc(idleTimeout, l.tend)
}

// tend closes the link if it is idle, or looks again later.
func (l *link) tend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := idleTimeout - time.Since(l.used)
	switch {
	case l.lost:
	case len(l.waiting) > 0 || rest > 0:
		l.idle.Reset(max(rest, idleTimeout/2))
	default:
		l.lost = true // nobody begins with it any more
		l.conn.close()
	}
}

func (l *link) read() {
	for {
		message, err := l.conn.read()
		if err != nil {
			return
		}
		l.deliver(message)
	}
}

// deliver gives an answer to whom it is for. Anything else is dropped.
func (l *link) deliver(message []byte) {
	if len(message) < headerSize {
		return
	}
	id := binary.BigEndian.Uint16(message)
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waiting[id]
	if w == nil || !answers(message, w.query) {
		return
	}
	delete(l.waiting, id)
	l.used = time.Now()
	l.heard = l.used
	w.answer <- message
}

// end tells those who wait.
func (l *link) end() {
	l.channel.forget(l)
	l.conn.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = true
	l.idle.Stop()
	for id, w := range l.waiting {
		delete(l.waiting, id)
		close(w.answer)
	}
}

// ask sends a query and waits for its answer.
func (l *link) ask(ctx context.Context, query []byte) ([]byte, error) {
	w := &waiter{query: query, answer: make(chan []byte, 1)}
	sent := time.Now()
	id, ok := l.enter(w, sent)
	if !ok {
		l.channel.forget(l)
		return nil, errLost
	}
	defer l.leave(id, w)
	message := bytes.Clone(query)
	binary.BigEndian.PutUint16(message, id)
	if err := l.conn.write(message); err != nil {
		l.drop()
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	select {
	case answer, ok := <-w.answer:
		if !ok {
			return nil, errLost
		}
		return answer, nil
	case <-ctx.Done():
		if l.channel.replace && l.silentSince(sent) {
			l.drop()
		}
		return nil, context.Cause(ctx)
	}
}

// silentSince reports whether nothing came since then: not an answer to any query.
func (l *link) silentSince(sent time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard.Before(sent)
}

// drop ends the link; the next query opens another one, and so do those that wait on this one.
func (l *link) drop() {
	l.channel.forget(l)
	l.conn.close()
}

// enter gives w an id that nobody can guess (RFC 5452, section 4.3). It returns false when the link is lost.
func (l *link) enter(w *waiter, now time.Time) (uint16, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.lost {
		var b [2]byte
		_, _ = rand.Read(b[:]) // never fails
		id := binary.BigEndian.Uint16(b[:])
		if l.waiting[id] == nil { // which nearly all are: there are maxCalls at most
			l.waiting[id] = w
			l.used = now
			return id, true
		}
	}
	return 0, false
}

func (l *link) leave(id uint16, w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting[id] == w {
		delete(l.waiting, id)
	}
}
