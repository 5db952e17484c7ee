package websocket

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

// idle is a stream that somebody reads, and a peer that notes when pings come.
type idle struct {
	*Stream
	peer  *peer
	pings chan time.Time
	ended chan error // what the reader met
}

// newIdle starts a pair in a bubble. answer says whether the peer answers pings.
func newIdle(o Options, answer func(p *peer)) *idle {
	carrier, p := newPair()
	c := &idle{
		Stream: NewStream(carrier, o),
		peer:   p,
		pings:  make(chan time.Time, 1000),
		ended:  make(chan error, 1),
	}
	go func() {
		for {
			f, err := p.frame()
			if err != nil {
				return
			}
			if f.Header.OpCode == ws.OpPing {
				c.pings <- time.Now()
				answer(p)
			}
		}
	}()
	return c
}

func (c *idle) read() *idle {
	go func() {
		_, err := io.Copy(io.Discard, c.Stream)
		c.ended <- err
	}()
	return c
}

func (c *idle) stop() {
	_ = c.Close()
	_ = c.peer.Abort()
	synctest.Wait()
}

func pong(p *peer)   { _ = p.send(ws.NewPongFrame(nil)) }
func noPong(_ *peer) {}

// wantPing waits for a ping and demands that it comes that long after began, give or take the jitter.
func (c *idle) wantPing(t *testing.T, began time.Time, after time.Duration) time.Time {
	t.Helper()
	at := <-c.pings
	spread := time.Duration(jitter * float64(after))
	if got := at.Sub(began); got < after-spread || got > after+spread {
		t.Errorf("ping after %v, want %v give or take %v", got, after, spread)
	}
	return at
}

func (c *idle) wantNoPing(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case <-c.pings:
		t.Errorf("a ping came within %v, want none", within)
	case err := <-c.ended:
		t.Errorf("the stream ended with %v within %v, want it open", err, within)
	case <-time.After(within):
	}
}

func TestPingsWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{}, pong).read()
		defer c.stop()
		last := time.Now()
		for range 20 {
			last = c.wantPing(t, last, defaultPingAfter)
		}
	})
}

// Silence counts from the last byte, whenever that came, or proxies that cut at 60 s would be first.
func TestPingCountsFromLastByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{}, pong).read()
		defer c.stop()
		for _, wait := range []time.Duration{time.Second, 10 * time.Second, 26 * time.Second} {
			time.Sleep(wait)
			_ = c.peer.send(ws.NewBinaryFrame([]byte("x")))
			c.wantPing(t, time.Now(), defaultPingAfter)
		}
	})
}

// As long as data comes, there is nothing to ask.
func TestNoPingWhileDataComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{}, noPong).read()
		defer c.stop()
		for range 30 {
			_ = c.peer.send(ws.NewBinaryFrame([]byte("x")))
			c.wantNoPing(t, 20*time.Second)
		}
	})
}

func TestFirstPingComesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{}, noPong).read()
		defer c.stop()
		time.Sleep(20 * time.Second)
		_, _ = c.Write([]byte("request"))
		asked := c.wantPing(t, time.Now(), firstPingAfter)
		err, took := <-c.ended, time.Since(asked)
		if !errors.Is(err, ErrPingTimeout) || took != defaultPongLimit {
			t.Errorf("read = %v after %v, want %v after %v", err, took, ErrPingTimeout, defaultPongLimit)
		}
	})
}

func TestFirstWriteWasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{}, pong).read()
		defer c.stop()
		_, _ = c.Write([]byte("request"))
		time.Sleep(time.Second)
		_ = c.peer.send(ws.NewBinaryFrame([]byte("answer")))
		c.wantPing(t, time.Now(), defaultPingAfter)
	})
}

// The first write must not take from the time that a peer has for a pong.
func TestFirstWriteDuringPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{}, noPong).read()
		defer c.stop()
		asked := c.wantPing(t, time.Now(), defaultPingAfter)
		_, _ = c.Write([]byte("request"))
		<-c.ended
		if got := time.Since(asked); got != defaultPongLimit {
			t.Errorf("the peer had %v for a pong, want %v", got, defaultPongLimit)
		}
	})
}

func TestDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{PingAfter: time.Minute, PongLimit: 3 * time.Second}, noPong).read()
		defer c.stop()
		asked := c.wantPing(t, time.Now(), time.Minute)
		if err := <-c.ended; !errors.Is(err, ErrPingTimeout) {
			t.Errorf("read = %v, want %v", err, ErrPingTimeout)
		}
		if got := time.Since(asked); got != 3*time.Second {
			t.Errorf("given up %v after the ping, want 3s", got)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, ErrPingTimeout) {
			t.Errorf("write = %v, want %v", err, ErrPingTimeout)
		}
		if err := c.CloseWrite(); !errors.Is(err, ErrPingTimeout) {
			t.Errorf("CloseWrite() = %v, want %v", err, ErrPingTimeout)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrPingTimeout) {
			t.Errorf("read again = %v, want %v", err, ErrPingTimeout)
		}
	})
}

// A peer whose target takes no more answers no ping. That is back-pressure, not death, however long it takes.
func TestBackPressureIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{}, noPong).read()
		defer c.stop()
		_, _ = c.Write(make([]byte, maxUnanswered+1))
		c.wantPing(t, time.Now(), firstPingAfter)
		c.wantNoPing(t, time.Hour)
		_ = c.peer.send(ws.NewBinaryFrame([]byte("x"))) // all was taken
		c.wantPing(t, time.Now(), defaultPingAfter)
		if err := <-c.ended; !errors.Is(err, ErrPingTimeout) {
			t.Errorf("read after silence with nothing to take = %v, want %v", err, ErrPingTimeout)
		}
	})
}

// An application that stops reading, such as a paused download, leaves pongs unread. Its peer is not dead.
func TestPausedReaderIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{}, pong)
		defer c.stop()
		_, _ = c.Write([]byte("request"))
		_ = c.peer.send(ws.NewBinaryFrame(make([]byte, 1000)))
		if _, err := c.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if len(c.pings) < 60 {
			t.Errorf("%d pings in an hour, want one a minute at least, for proxies", len(c.pings))
		}
		if n, err := io.ReadFull(c, make([]byte, 990)); err != nil {
			t.Errorf("read after a pause = %d, %v, want the rest", n, err)
		}
	})
}

// A peer that died during the pause has a whole limit from when somebody reads again.
func TestPeerDiesWhileReaderPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{}, noPong)
		defer c.stop()
		time.Sleep(10 * time.Minute)
		c.read()
		began := time.Now()
		err := <-c.ended
		took := time.Since(began)
		const atMost = defaultPingAfter + 3*defaultPongLimit
		if !errors.Is(err, ErrPingTimeout) || took < defaultPongLimit || took > atMost {
			t.Errorf("read of a dead peer = %v after %v, want %v after %v to %v",
				err, took, ErrPingTimeout, defaultPongLimit, atMost)
		}
	})
}

func TestNoPingAfterClose(t *testing.T) {
	for name, closeOne := range map[string]func(c *idle){
		"ours":     func(c *idle) { _ = c.CloseWrite() },
		"the peer": func(c *idle) { _ = c.peer.CloseWrite(); <-c.ended },
		"after a ping went out": func(c *idle) {
			<-c.pings
			_ = c.CloseWrite()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newIdle(Options{}, noPong).read()
				defer c.stop()
				closeOne(c)
				c.wantNoPing(t, time.Hour)
			})
		})
	}
}

// A deferred Close frame is none yet: pings go on, and so do answers.
func TestPingsWhileCloseIsDeferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{HalfClose: Defer}, pong).read()
		defer c.stop()
		_ = c.CloseWrite()
		c.wantPing(t, c.wantPing(t, time.Now(), defaultPingAfter), defaultPingAfter)
	})
}

func TestNoKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(Options{PingAfter: -1}, noPong).read()
		defer c.stop()
		_, _ = c.Write([]byte("request"))
		c.wantNoPing(t, time.Hour)
	})
}

// A ping waits for nobody: while a frame is being written, the peer has that to answer.
func TestNoPingWhileWriteIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		carrier, p := newPair()
		s := NewStream(carrier, Options{})
		go func() { _, _ = io.Copy(io.Discard, s) }()
		wrote := make(chan error, 1)
		go func() {
			_, err := s.Write(make([]byte, 1<<20))
			wrote <- err
		}()
		time.Sleep(time.Hour)
		select {
		case err := <-wrote:
			t.Fatalf("blocked write = %v after an hour, want it blocked", err)
		default:
		}
		_ = s.Close()
		<-wrote
		_ = p.Abort()
	})
}
