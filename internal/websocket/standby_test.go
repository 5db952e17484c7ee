package websocket

import (
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// short is the keep-alive of a connection that is ready.
var short = Options{PingAfter: 15 * time.Second, PongLimit: 1200 * time.Millisecond}

func TestSetKeepAlive(t *testing.T) {
	rows := map[string]struct {
		before, after Options
		at            time.Duration // when the keep-alive is changed
		want          time.Duration // when the next ping comes
	}{
		"longer":        {short, Options{}, 5 * time.Second, 30 * time.Second},
		"shorter":       {Options{}, short, 5 * time.Second, 15 * time.Second},
		"overdue":       {Options{}, short, 20 * time.Second, 20 * time.Second},
		"from never":    {Options{PingAfter: -1}, Options{}, 20 * time.Second, 30 * time.Second},
		"the same":      {Options{}, Options{}, 20 * time.Second, 30 * time.Second},
		"no pings more": {short, Options{PingAfter: -1}, time.Second, 0},
	}
	for name, tt := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newIdle(tt.before, pong).read()
				defer c.stop()
				began := time.Now()
				time.Sleep(tt.at)
				c.SetKeepAlive(tt.after)
				if tt.want == 0 {
					c.wantNoPing(t, time.Hour)
					return
				}
				c.wantPing(t, began, tt.want)
			})
		})
	}
}

// A ping that is out has the new limit, from when that was set.
func TestSetKeepAliveDuringPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIdle(short, noPong).read()
		defer c.stop()
		began := time.Now()
		c.wantPing(t, began, short.PingAfter)
		time.Sleep(short.PongLimit / 2)
		c.SetKeepAlive(Options{})
		again := c.wantPing(t, began, defaultPingAfter)
		err := <-c.ended
		if took := time.Since(again); !errors.Is(err, ErrPingTimeout) || took != defaultPongLimit {
			t.Errorf("read = %v after %v, want %v after %v", err, took, ErrPingTimeout, defaultPongLimit)
		}
	})
}

// The end of a keep-alive is for good.
func TestSetKeepAliveAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(c *idle){
		"dead":   func(c *idle) { <-c.ended },
		"closed": func(c *idle) { _ = c.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newIdle(short, noPong).read()
				defer c.stop()
				end(c)
				for len(c.pings) > 0 {
					<-c.pings
				}
				c.SetKeepAlive(Options{})
				c.wantNoPing(t, time.Hour)
			})
		})
	}
}

// WaitRead answers pings, takes pongs, loses nothing when it is interrupted, and needs no buffer.
func TestStreamWaitRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		carrier, p := newPair()
		s := NewStream(carrier, Options{PingAfter: -1})
		defer s.Close()
		waited := make(chan error, 1)
		wait := func() { waited <- s.WaitRead() }
		go wait()
		_ = p.send(ws.NewPingFrame([]byte("standby")))
		if got := p.pong(t); got != "standby" {
			t.Errorf("pong = %q, want standby", got)
		}
		_ = p.send(ws.NewBinaryFrame(nil)) // an empty message is nothing to read
		_, _ = p.StreamConn.Write([]byte{0x82})
		synctest.Wait()
		_ = s.SetReadDeadline(time.Unix(1, 0))
		if err := <-waited; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("WaitRead() = %v, want %v", err, os.ErrDeadlineExceeded)
		}
		_ = s.SetReadDeadline(time.Time{})
		go wait()
		_, _ = p.StreamConn.Write([]byte("\x04data"))
		if err := <-waited; err != nil {
			t.Fatalf("WaitRead() = %v, want nil", err)
		}
		var b [8]byte
		if n, err := s.Read(b[:]); string(b[:n]) != "data" || err != nil {
			t.Errorf("read = %q, %v, want data", b[:n], err)
		}
		_ = p.sendClose(1000)
		if err := s.WaitRead(); err != io.EOF { //nolint:errorlint // as Read returns it
			t.Errorf("WaitRead() = %v, want EOF", err)
		}
	})
}

// leaver is what Leave is tested on.
type leaver interface {
	Leave()
	WaitRead() error
}

var leavers = map[string]func(c *transporttest.PipeConn) leaver{
	"stream":   func(c *transporttest.PipeConn) leaver { return NewStream(c, Options{}) },
	"deferred": func(c *transporttest.PipeConn) leaver { return NewStream(c, Options{HalfClose: Defer}) },
	"packets":  func(c *transporttest.PipeConn) leaver { return NewPackets(c, Options{}) },
}

// Leave says goodbye, and is over as soon as the peer has said it too.
func TestLeave(t *testing.T) {
	for name, open := range leavers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				carrier, p := newPair()
				c := open(carrier)
				go func() {
					if _, err := p.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // a Close frame
						t.Errorf("peer read %v, want EOF", err)
					}
					time.Sleep(closePatience / 4)
					_ = p.send(ws.NewPongFrame(nil))
					_ = p.CloseWrite()
					if n, err := io.Copy(io.Discard, p.StreamConn); n != 0 || err != nil {
						t.Errorf("peer read %d, %v behind the close frame, want the end", n, err)
					}
				}()
				began := time.Now()
				c.Leave()
				if took := time.Since(began); took != closePatience/4 {
					t.Errorf("Leave() took %v, want %v", took, closePatience/4)
				}
			})
		})
	}
}

// Leave waits for a peer that says nothing, or that says something else, but not for long.
func TestLeaveSilentPeer(t *testing.T) {
	for name, open := range leavers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				carrier, p := newPair()
				c := open(carrier)
				began := time.Now()
				c.Leave()
				if took := time.Since(began); took != closePatience {
					t.Errorf("Leave() took %v, want %v", took, closePatience)
				}
				if _, err := p.frame(); err != nil {
					t.Errorf("peer: %v, want a close frame", err)
				}

				carrier, p = newPair()
				c = open(carrier)
				_ = p.send(ws.NewBinaryFrame([]byte("data")))
				began = time.Now()
				c.Leave()
				if took := time.Since(began); took != 0 {
					t.Errorf("Leave() took %v with data, want nothing", took)
				}
			})
		})
	}
}

func TestLeaveAfterTheEnd(t *testing.T) {
	for name, open := range leavers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				carrier, p := newPair()
				c := open(carrier)
				_ = p.Abort()
				_ = c.WaitRead()
				began := time.Now()
				c.Leave()
				c.Leave()
				if took := time.Since(began); took != 0 {
					t.Errorf("Leave() took %v after a reset, want nothing", took)
				}
			})
		})
	}
}

// shared is a carrier that knows how its connection fares.
type shared struct {
	*transporttest.PipeConn
	strained bool
}

func (s *shared) Strained() bool { return s.strained }

func TestStrained(t *testing.T) {
	carrier, p := newPair()
	defer p.Abort()
	c := &shared{PipeConn: carrier}
	s := NewStream(c, Options{PingAfter: -1})
	defer s.Close()
	for _, want := range []bool{false, true} {
		c.strained = want
		if got := s.Strained(); got != want {
			t.Errorf("Strained() = %v, want %v", got, want)
		}
	}
	alone, _ := newPair()
	own := NewPackets(alone, Options{PingAfter: -1})
	defer own.Close()
	if own.Strained() {
		t.Error("Strained() = true of a carrier that shares nothing, want false")
	}
}
