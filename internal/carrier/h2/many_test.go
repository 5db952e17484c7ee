package h2

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestManyStreamsAtOnce(t *testing.T) {
	const flows, size = 2000, 3000
	c, server := startServer(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range flows {
			st := server.accept("200")
			wg.Go(func() { // an echo
				got, err := io.ReadAll(st)
				if _, werr := st.Write(got); err != nil || werr != nil {
					t.Errorf("server: %v, %v", err, werr)
				}
				_ = st.CloseWrite()
			})
		}
	})
	open := make(chan struct{})
	var all sync.WaitGroup // are open before the first ends
	all.Add(flows)
	for i := range flows {
		wg.Go(func() {
			s, err := c.Open(t.Context(), target, nil)
			all.Done()
			<-open
			if err != nil {
				t.Error(err)
				return
			}
			if err := echo(s, make([]byte, size+i)); err != nil {
				t.Errorf("flow %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if load := c.Load(); load.Streams != flows || !load.Room {
		t.Errorf("Load() = %+v, want %d streams and room", load, flows)
	}
	close(open)
	wg.Wait()
	if load := c.Load(); load.Streams != 0 {
		t.Errorf("streams left = %d, want 0", load.Streams)
	}
	if left := c.budget.left.Load(); left != 1<<30 {
		t.Errorf("budget = %d, want all of it", left)
	}
}

// echo sends a payload on a stream, wants it back and closes the stream.
func echo(s io.ReadWriter, payload []byte) error {
	if _, err := s.Write(payload); err != nil {
		return err
	}
	if err := s.(*Stream).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(s)
	if err != nil {
		return err
	}
	if !slices.Equal(got, payload) {
		return fmt.Errorf("got %d bytes, want the %d that were sent", len(got), len(payload))
	}
	return s.(*Stream).Close()
}

// Flows come and go in every way at the same time, and nothing of them is left.
func TestChurn(t *testing.T) {
	const flows, rounds = 20, 40
	c, server := startServer(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range flows * rounds {
			st := server.accept("200")
			wg.Go(func() { _, _ = io.Copy(io.Discard, st) })
			wg.Go(func() {
				_, _ = st.Write(make([]byte, 50_000))
				_ = st.CloseWrite()
			})
		}
	})
	for i := range flows {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			for range rounds {
				if err := churn(c, random); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	settle(t, c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, left := len(c.starved), c.budget.left.Load(); n != 0 || left != 1<<30 {
		t.Errorf("left: %d starved streams, %d of the budget", n, left)
	}
	for id, s := range c.streams {
		if !s.closed || len(s.inbox.blocks) > 0 {
			t.Errorf("stream %d is left, closed: %v, with %d blocks", id, s.closed, len(s.inbox.blocks))
		}
	}
	if c.err != nil || c.recvLeft+c.recvOwed != connWindow {
		t.Errorf("connection ended for %v, window %d and %d owed", c.err, c.recvLeft, c.recvOwed)
	}
}

// settle waits until the reading goroutine is done with the frame in which it found a stream closed.
func settle(t *testing.T, c *Conn) {
	t.Helper()
	filling := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.streams {
			if len(s.inbox.blocks) > 0 {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(patience); filling(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("closed streams keep their buffers")
		}
	}
}

// churn opens a stream, uses it for a moment and leaves it in some way.
func churn(c *Conn, random *rand.Rand) error {
	conn, err := c.Open(context.Background(), target, nil)
	if err != nil {
		return err
	}
	s := conn.(*Stream)
	var both sync.WaitGroup
	_ = s.SetDeadline(time.Now().Add(time.Duration(random.IntN(3000)) * time.Microsecond))
	up, down := random.IntN(200_000), random.Int64N(60_000)
	both.Go(func() { _, _ = s.Write(make([]byte, up)) })
	both.Go(func() { _, _ = io.CopyN(io.Discard, s, down) })
	switch random.IntN(4) {
	case 0:
		_ = s.Abort()
	case 1:
		_ = s.Close()
	case 2:
		_ = s.CloseWrite()
	}
	both.Wait()
	return s.Close()
}
