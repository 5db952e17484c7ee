package websocket

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// watched is a carrier that claims to know its path.
type watched struct {
	*transporttest.PipeConn
	unacknowledged time.Duration
}

func (w watched) Unacknowledged() time.Duration { return w.unacknowledged }

// wantDead waits for the end of the reader, which must come within two minutes and be for want of a pong.
func wantDead(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if !errors.Is(err, ErrPingTimeout) {
			t.Errorf("read = %v, want %v", err, ErrPingTimeout)
		}
	case <-time.After(2 * time.Minute):
		t.Error("the connection lives on after two minutes of silence")
	}
}

func readAway(c interface{ Read([]byte) (int, error) }) <-chan error {
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended
}

// TestBusyAssociationFindsItsServerDead sends as a voice call does into a carrier that swallows everything,
// and then into one that takes nothing any more.
func TestBusyAssociationFindsItsServerDead(t *testing.T) {
	for _, tt := range []struct {
		name    string
		swallow bool
	}{{"server swallows", true}, {"server takes nothing", false}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				carrier, p := newPair()
				c := NewPackets(carrier, Options{})
				if tt.swallow {
					go drain(p.StreamConn)
				}
				var talking sync.WaitGroup
				talking.Go(func() { talk(c) })
				wantDead(t, readAway(c))
				_ = c.Close()
				_ = p.Abort()
				talking.Wait()
			})
		})
	}
}

// talk sends datagrams at the pace of a call until that fails.
func talk(c *Packets) {
	for {
		if _, err := c.Write(make([]byte, 200)); err != nil {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
}

func drain(c transport.StreamConn) {
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// TestUploadIntoSilence tells a target that takes no more, which may last, from a path that is gone.
func TestUploadIntoSilence(t *testing.T) {
	for _, tt := range []struct {
		name           string
		unacknowledged time.Duration
		dead           bool
	}{
		{"host acknowledges", 0, false},
		{"path is gone", time.Minute, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pipe, p := newPair()
				c := NewStream(watched{pipe, tt.unacknowledged}, Options{})
				go func() { _, _ = c.Write(make([]byte, 1<<20)) }() // more than the pipe holds
				ended := readAway(c)
				if tt.dead {
					wantDead(t, ended)
				} else {
					select {
					case err := <-ended:
						t.Errorf("read = %v although the host is alive", err)
					case <-time.After(time.Hour):
					}
				}
				_ = c.Abort()
				_ = p.Abort()
			})
		})
	}
}
