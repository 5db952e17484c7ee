package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestPacketsOpensWithTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newSocket(9)
		l := opens(up)
		f := startPackets(t, l, PacketOptions{})
		<-time.After(time.Hour)
		if len(l.dials) != 0 {
			t.Errorf("%d dials before the first packet, want 0", len(l.dials))
		}
		f.send("question")
		f.send("")
		if d := <-up.out; d != (datagram{"question", name("target")}) {
			t.Errorf("upstream got %+v, want the question to target", d)
		}
		wantOut(t, "upstream", up, "")
		up.in <- datagram{"an answer", name("source")}
		if d := <-f.client.out; d != (datagram{"an answer", name("source")}) {
			t.Errorf("client got %+v, want the answer from source", d)
		}
		if len(l.dials) != 1 {
			t.Errorf("%d dials, want 1", len(l.dials))
		}
		_ = f.client.Close()
		r := <-f.result
		if !errors.Is(r.Err, net.ErrClosed) || r.Sent != 8 || r.Received != 9 {
			t.Errorf("Packets = %+v, want Sent 8, Received 9 and error %v", r, net.ErrClosed)
		}
		if !up.isClosed() {
			t.Error("upstream's socket is open after the end")
		}
	})
}

func TestPacketsRedials(t *testing.T) {
	errBroken := errors.New("broken")
	rows := []struct {
		name   string
		breakS func(s *socket)
	}{
		{"upstream closed", func(s *socket) { s.broken <- io.EOF }},
		{"read failed", func(s *socket) { s.broken <- errBroken }},
		{"write fails", func(s *socket) { s.failWrites(errBroken) }}, // the packet that finds out is not lost
		{"upstream closed long ago", func(s *socket) { s.broken <- io.EOF; <-time.After(time.Hour) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := newSocket(9), newSocket(9)
				l := opens(first, second)
				f := startPackets(t, l, PacketOptions{})
				f.send("1")
				first.in <- datagram{"pong", name("source")}
				row.breakS(first)
				synctest.Wait()
				if len(l.dials) != 1 {
					t.Errorf("%d dials while there is nothing to send, want 1", len(l.dials))
				}
				f.send("2")
				wantOut(t, "first socket", first, "1")
				wantOut(t, "second socket", second, "2")
				if !first.isClosed() {
					t.Error("the broken socket is open")
				}
				if r := f.end(); !errors.Is(r.Err, errCut) || r.Sent != 2 || r.Received != 4 {
					t.Errorf("Packets = %+v, want Sent 2, Received 4 and error %v", r, errCut)
				}
			})
		})
	}
}

func TestPacketsTooLongIsNotBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newSocket(9)
		l := opens(up)
		f := startPackets(t, l, PacketOptions{})
		f.send("1")
		up.failWrites(fmt.Errorf("datagram of 70000 bytes: %w", syscall.EMSGSIZE))
		f.send("too long")
		up.failWrites(nil)
		f.send("2")
		wantOut(t, "upstream", up, "1", "2")
		if len(l.dials) != 1 || up.isClosed() {
			t.Errorf("%d dials, want 1 and its socket open", len(l.dials))
		}
		if r := f.end(); r.Sent != 2 {
			t.Errorf("Packets = %+v, want Sent 2", r)
		}
	})
}

// A client that cannot take an answer loses it, and no more.
// TestPacketsDropped: what no upstream takes is counted, whatever the reason.
func TestPacketsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, third := newSocket(9), newSocket(9), newSocket(9)
		dropped := 0
		f := startPackets(t, opens(first, second, third), PacketOptions{Dropped: func() { dropped++ }})
		want := func(what string, n int) {
			t.Helper()
			if dropped != n {
				t.Errorf("%s: %d packets dropped, want %d", what, dropped, n)
			}
		}
		f.send("1")
		want("delivered", 0)
		first.failWrites(syscall.EMSGSIZE)
		f.send("too long")
		want("too long", 1)
		<-time.After(time.Hour)
		first.failWrites(errors.New("broken"))
		second.failWrites(errors.New("broken too"))
		f.send("2")
		want("two broken sockets", 2)
		f.send("3")
		want("a pause", 3)
		<-time.After(time.Hour)
		f.send("4")
		want("a good socket", 3)
		f.end()
	})
}

func TestPacketsClientCannotTakeAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newSocket(9)
		f := startPackets(t, opens(up), PacketOptions{})
		f.send("1")
		f.client.failWrites(syscall.EPERM)
		up.in <- datagram{"lost", name("source")}
		synctest.Wait()
		f.client.failWrites(nil)
		up.in <- datagram{"answer", name("source")}
		synctest.Wait()
		wantOut(t, "client", f.client, "answer")
		if r := f.end(); r.Received != 6 {
			t.Errorf("Packets = %+v, want Received 6", r)
		}
	})
}

func TestPacketsEndsWithItsContext(t *testing.T) {
	send := func(f *traffic, _ *socket) { f.send("1") }
	rows := []struct {
		name  string
		open  func(ctx context.Context, up *socket) (net.PacketConn, error)
		begin func(f *traffic, up *socket)
	}{
		{"before the first packet", nil, func(*traffic, *socket) {}},
		{"idle", nil, send},
		{"in a dial", func(ctx context.Context, up *socket) (net.PacketConn, error) {
			<-ctx.Done()
			return nil, errors.Join(ctx.Err(), up.Close())
		}, send},
		{"in a dial that succeeds late", func(ctx context.Context, up *socket) (net.PacketConn, error) {
			<-ctx.Done()
			<-time.After(time.Second)
			return up, nil
		}, send},
		{"during the pause after a failed dial", func(_ context.Context, up *socket) (net.PacketConn, error) {
			return nil, errors.Join(errDial, up.Close())
		}, send},
		{"in a write to the upstream", nil, func(f *traffic, up *socket) {
			for range cap(up.out) + 1 {
				f.send("1")
			}
		}},
		{"in a write to the client", nil, func(f *traffic, up *socket) {
			f.send("1")
			for range cap(f.client.out) + 1 {
				up.in <- datagram{"answer", name("source")}
			}
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := newSocket(9)
				up.late = time.Second // its reader is waited for
				l := opens(up)
				if row.open != nil {
					l.open = func(ctx context.Context) (net.PacketConn, error) { return row.open(ctx, up) }
				}
				var logged bytes.Buffer
				f := startPackets(t, l, PacketOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
				row.begin(f, up)
				synctest.Wait()
				logged.Reset()
				if r := f.end(); !errors.Is(r.Err, errCut) {
					t.Errorf("Packets = %+v, want error %v", r, errCut)
				}
				if len(l.dials) > 0 && !up.isClosed() {
					t.Error("upstream's socket is open after the end")
				}
				if logged.Len() > 0 {
					t.Errorf("the end was logged: %s", &logged)
				}
			})
		})
	}
}

// waitSocket is a socket with a WaitReader. It notes reads that were not announced.
type waitSocket struct {
	*socket
	ready datagram
	have  bool
	hasty bool
}

func (w *waitSocket) WaitRead() error {
	buf := make([]byte, 100)
	n, addr, err := w.socket.ReadFrom(buf)
	if err != nil {
		return err
	}
	w.ready, w.have = datagram{string(buf[:n]), addr}, true
	return nil
}

func (w *waitSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	w.hasty = w.hasty || !w.have
	w.have = false
	return copy(p, w.ready.payload), w.ready.addr, nil
}

func TestPacketsWaitsWithoutABuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, up := &waitSocket{socket: newSocket(9)}, &waitSocket{socket: newSocket(9)}
		l := &listener{open: func(context.Context) (net.PacketConn, error) { return up, nil }}
		result := make(chan Result, 1)
		go func() { result <- Packets(t.Context(), client, l, PacketOptions{}) }()
		client.in <- datagram{"question", name("target")}
		wantDatagram(t, up.socket, "question")
		up.in <- datagram{"answer", name("source")}
		wantDatagram(t, client.socket, "answer")
		client.broken <- io.ErrUnexpectedEOF
		if r := <-result; !errors.Is(r.Err, io.ErrUnexpectedEOF) {
			t.Errorf("Packets = %+v, want error %v", r, io.ErrUnexpectedEOF)
		}
		if client.hasty || up.hasty {
			t.Error("ReadFrom was called without WaitRead before")
		}
	})
}

func wantDatagram(t *testing.T, s *socket, want string) {
	t.Helper()
	if d := <-s.out; d.payload != want {
		t.Errorf("got %q, want %q", d.payload, want)
	}
}

// echoSocket sends every datagram back, from the address it went to, and breaks after a while.
func echoSocket(running *sync.WaitGroup, lasts int) *socket {
	s := newSocket(1)
	running.Go(func() {
		for range lasts {
			select {
			case d := <-s.out:
				select {
				case s.in <- d:
				case <-s.closed:
					return
				}
			case <-s.closed:
				return
			}
		}
		s.broken <- io.EOF
	})
	return s
}

func TestPacketsConcurrently(t *testing.T) {
	const senders, each = 4, 500
	synctest.Test(t, func(t *testing.T) {
		var echoes, sending sync.WaitGroup
		l := &listener{open: func(context.Context) (net.PacketConn, error) {
			return echoSocket(&echoes, 100), nil
		}}
		f := startPackets(t, l, PacketOptions{})
		got := map[string]int{}
		stop := make(chan struct{})
		var reading sync.WaitGroup
		reading.Go(func() {
			for {
				select {
				case d := <-f.client.out:
					got[d.addr.String()]++
				case <-stop:
					return
				}
			}
		})
		for i := range senders {
			sending.Go(func() {
				for range each {
					f.client.in <- datagram{"x", name(fmt.Sprint(i))}
				}
			})
		}
		sending.Wait()
		synctest.Wait()
		close(stop)
		reading.Wait()
		r := f.end()
		echoes.Wait()
		total := int64(0)
		for _, n := range got {
			total += int64(n)
		}
		if len(got) != senders || total != r.Received || r.Received > r.Sent || r.Sent > senders*each {
			t.Errorf("%d answers from %d targets and Packets = %+v, want them to agree", total, len(got), r)
		}
		if r.Received < senders*each/2 {
			t.Errorf("%d of %d packets answered, want most of them", r.Received, senders*each)
		}
	})
}

// A host without a network tries nothing, so an association is no slower for it when one is there again.
func TestPacketsWithoutANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newSocket(9)
		l := opens(up)
		reaches, opened := false, l.open
		l.open = func(ctx context.Context) (net.PacketConn, error) {
			if !reaches {
				return nil, fmt.Errorf("dial h2: %w", transport.ErrNoNetwork)
			}
			return opened(ctx)
		}
		var logged bytes.Buffer
		f := startPackets(t, l, PacketOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		for range 600 {
			f.send("lost")
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		reaches = true
		time.Sleep(idlePause)
		f.send("sent")
		synctest.Wait()
		if got := len(up.out); got != 1 {
			t.Errorf("%d packets were sent, want 1", got)
		}
		if logged.Len() > 0 {
			t.Errorf("logged: %s", &logged)
		}
		f.end()
	})
}
