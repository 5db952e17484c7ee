package relay

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// offer sends a packet every 100 ms for a while.
func (f *traffic) offer(during time.Duration) {
	const step = 100 * time.Millisecond
	for range during / step {
		f.send("x")
		<-time.After(step)
	}
}

func seconds(s ...float64) []time.Duration {
	var all []time.Duration
	for _, x := range s {
		all = append(all, time.Duration(x*float64(time.Second)))
	}
	return all
}

func TestPacketsPausesAfterFailedDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := opens()
		var logged bytes.Buffer
		f := startPackets(t, l, PacketOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		f.offer(40 * time.Second)
		if want := seconds(0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5, 31.5, 39.5); !slices.Equal(l.dials, want) {
			t.Errorf("dials at %v, want %v", l.dials, want)
		}
		if n := strings.Count(logged.String(), errDial.Error()); n != len(l.dials) {
			t.Errorf("%d lines of log about %d failed dials:\n%s", n, len(l.dials), &logged)
		}
		if r := f.end(); r.Sent != 0 || r.Received != 0 {
			t.Errorf("Packets = %+v, want nothing sent or received", r)
		}
	})
}

// A server that closes every association at once must not cost a dial for each packet either.
func TestPacketsPausesWhenSocketsDoNotLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{began: time.Now(), open: func(context.Context) (net.PacketConn, error) {
			s := newSocket(9)
			s.broken <- io.EOF
			return s, nil
		}}
		f := startPackets(t, l, PacketOptions{})
		f.offer(20 * time.Second)
		if want := seconds(0, 0.5, 1.5, 3.5, 7.5, 15.5); !slices.Equal(l.dials, want) {
			t.Errorf("dials at %v, want %v", l.dials, want)
		}
		f.end()
	})
}

// An answer proves the upstream good: the next break is followed by a dial at once.
func TestPacketsPauseEndsWithAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var good *socket
		l := opens()
		f := startPackets(t, l, PacketOptions{})
		f.offer(8 * time.Second)
		l.open = func(context.Context) (net.PacketConn, error) {
			good = newSocket(1000)
			return good, nil
		}
		f.offer(8 * time.Second)
		for range 3 {
			good.in <- datagram{"answer", name("source")}
			good.broken <- io.EOF
			synctest.Wait()
			before := len(l.dials)
			f.send("x")
			if len(l.dials) != before+1 {
				t.Errorf("no dial at once after a socket that had brought an answer")
			}
		}
		f.end()
	})
}

// However good the last socket was, an upstream that cannot be reached any more is left alone for a while.
func TestPacketsPausesAfterAGoodSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newSocket(9)
		l := opens(up)
		f := startPackets(t, l, PacketOptions{})
		f.send("1")
		up.in <- datagram{"answer", name("source")}
		up.broken <- io.EOF
		synctest.Wait()
		l.dials, l.began = nil, time.Now()
		f.offer(5 * time.Second)
		if want := seconds(0, 0.5, 1.5, 3.5); !slices.Equal(l.dials, want) {
			t.Errorf("dials at %v, want %v", l.dials, want)
		}
		f.end()
	})
}
