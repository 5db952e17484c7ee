package transporttest

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

func closeChecks() []check {
	return []check{
		{"close during a read", closeDuringRead},
		{"close during a write", closeDuringWrite},
		{"close twice", closeTwice},
		{"use after close", useAfterClose},
		{"close after both halves ended", closeAfterEnd},
		{"read, write, deadlines and close at once", allAtOnce},
	}
}

func closeDuringRead(p *pair) error {
	read := p.start(readOne(p.a))
	<-time.After(settle)
	_ = p.a.Close() // may report what it could not send
	return wantBroken("read during close", <-read)
}

func closeDuringWrite(p *pair) error {
	var written atomic.Int64
	wrote := p.start(flood(p.a, &written))
	untilBlocked(&written)
	_ = p.a.Close()
	return wantBroken("write during close", <-wrote)
}

func closeTwice(p *pair) error {
	p.start(drain(p.b))
	_ = p.a.Close()
	_ = p.a.Close() // may return an error, must not panic or hang
	return nil
}

func useAfterClose(p *pair) error {
	p.start(drain(p.b))
	_ = p.a.Close()
	if err := wantBroken("read after close", readOne(p.a)()); err != nil {
		return err
	}
	_, err := p.a.Write(payload(small))
	return wantBroken("write after close", err)
}

func closeAfterEnd(p *pair) error {
	if err := aEndsFirst(p); err != nil {
		return err
	}
	if err := p.a.Close(); err != nil {
		return fmt.Errorf("close after both halves ended: %w", err)
	}
	return nil
}

// allAtOnce is for the race detector: all that may run at the same time does, and Close ends it.
func allAtOnce(p *pair) error {
	moved := make(chan struct{}) // closed when bytes have come from b
	others := []<-chan error{
		p.start(drain(p.b)),
		p.start(flood(p.b, nil)),
		p.start(flood(p.a, nil)),
		p.start(func() error { return touch(p) }),
	}
	read := p.start(func() error {
		_, err := io.CopyN(io.Discard, p.a, big)
		close(moved)
		if err != nil {
			return err
		}
		return drain(p.a)()
	})
	<-moved
	_ = p.a.Close()
	if err := wantBroken("read during close", <-read); err != nil {
		return err
	}
	for _, other := range others {
		<-other // its error does not matter, its end does
	}
	return nil
}

// touch calls what may be called at any time.
func touch(p *pair) error {
	for range 1000 {
		later := time.Now().Add(time.Hour)
		_ = p.a.SetReadDeadline(later) // fails once a is closed
		_ = p.a.SetWriteDeadline(later)
		_ = p.a.SetDeadline(later)
		_, _ = p.a.LocalAddr(), p.a.RemoteAddr()
	}
	return nil
}

// drain reads to the end and returns the error, or nil for EOF.
func drain(r io.Reader) func() error {
	return func() error {
		_, err := io.Copy(io.Discard, struct{ io.Reader }{r}) // by Read, even when there is a WriteTo
		return err
	}
}
