package h2

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// A small flow waits for one frame of each bulk upload and for what the socket holds, not for the uploads.
func TestSmallFlowBesideBulk(t *testing.T) {
	const bulks = 8
	inSession(t, func(t *testing.T, p *script) {
		p.do(p.fr.WriteWindowUpdate(0, 1<<30))
		var uploads []<-chan error
		var streams []*Stream
		for range bulks + 1 {
			streams = append(streams, p.open())
		}
		small := streams[bulks]
		p.take()
		p.stopReading()
		for _, s := range streams[:bulks] {
			uploads = append(uploads, s.beginWrite(1<<20))
		}
		wrote := small.beginWrite(10)
		p.startReading()
		frames := p.takeKind(http2.FrameData)
		at := slices.IndexFunc(frames, func(f frame) bool { return f.StreamID == small.id })
		const inPipe = 64<<10/16384 + 1
		if at < 0 || at > inPipe+bulks+1 {
			t.Errorf("frames ahead of the small flow's = %d, want %d and %d at most", at, inPipe, bulks+1)
		}
		for _, upload := range append(uploads, wrote) {
			if err := <-upload; err != nil {
				t.Error(err)
			}
		}
	}, initialWindow(1<<20))
}

// starve opens streams that wait for the connection's window, in their order.
func (p *script) starve(n int) (streams []*Stream, writes []<-chan error) {
	for range n {
		streams = append(streams, p.open())
	}
	for _, s := range streams {
		writes = append(writes, s.beginWrite(100<<10))
	}
	if n := total(p.take()); n != 65535 {
		p.t.Fatalf("client sent %d bytes into a window of 65535", n)
	}
	return streams, writes
}

// grant gives the connection a window and returns whose frames that brings.
func (p *script) grant(n uint32) (ids []uint32) {
	p.do(p.fr.WriteWindowUpdate(0, n))
	sum := uint32(0)
	for _, f := range p.takeKind(http2.FrameData) {
		ids = append(ids, f.StreamID)
		sum += f.Length
	}
	if sum != n {
		p.t.Errorf("client sent %d bytes, want the %d it was granted", sum, n)
	}
	return ids
}

func TestStarvedWritersAreServedInOrder(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		streams, writes := p.starve(3)
		a, b, c := streams[0].id, streams[1].id, streams[2].id
		for _, want := range []uint32{a, b, c, a, b, c} {
			if got := p.grant(10); !slices.Equal(got, []uint32{want}) {
				t.Errorf("granted 10 bytes, and stream %v sent, want %d", got, want)
			}
		}
		if got, want := p.grant(maxPayload*4), []uint32{a, b, c}; !slices.Equal(got[:3], want) {
			t.Errorf("granted 4 frames, and streams %v sent, want %v first", got, want)
		}
		p.do(p.fr.WriteWindowUpdate(0, 1<<20))
		for _, w := range writes {
			if err := <-w; err != nil {
				t.Error(err)
			}
		}
		if n := len(p.c.starved); n != 0 {
			t.Errorf("streams in the list = %d, want 0", n)
		}
	}, initialWindow(1<<20))
}

func TestStarvedWriterGivesUp(t *testing.T) {
	tests := map[string]struct {
		giveUp func(p *script, s *Stream)
		want   error
	}{
		"close": {func(_ *script, s *Stream) { _ = s.Close() }, net.ErrClosed},
		"abort": {func(_ *script, s *Stream) { _ = s.Abort() }, net.ErrClosed},
		"end":   {func(_ *script, s *Stream) { _ = s.CloseWrite() }, net.ErrClosed},
		"deadline": {func(_ *script, s *Stream) {
			_ = s.SetWriteDeadline(time.Unix(1, 0))
		}, os.ErrDeadlineExceeded},
		"reset": {func(p *script, s *Stream) {
			p.do(p.fr.WriteRSTStream(s.id, http2.ErrCodeInternal))
		}, &StreamError{CodeInternal}},
		"own window": {func(p *script, s *Stream) {
			p.do(p.fr.WriteSettings(initialWindow(0))) // all streams wait for that now
			p.do(p.fr.WriteWindowUpdate(s.id+2, 1<<20))
			_ = s.Close()
		}, net.ErrClosed},
	}
	for name, tt := range tests {
		for _, granted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				inSession(t, func(t *testing.T, p *script) {
					streams, writes := p.starve(2)
					if granted { // the window comes in the very moment
						_ = p.fr.WriteWindowUpdate(0, 10)
					}
					tt.giveUp(p, streams[0])
					synctest.Wait()
					err := <-writes[0]
					reset, ok := errors.AsType[*StreamError](tt.want)
					got, gotOK := errors.AsType[*StreamError](err)
					if same := ok && gotOK && *reset == *got; !same && !errors.Is(err, tt.want) {
						t.Errorf("Write() = %v, want %v", err, tt.want)
					}
					p.take()
					if got := p.grant(100); !slices.Equal(got, []uint32{streams[1].id}) {
						t.Errorf("streams that sent = %v, want %d", got, streams[1].id)
					}
					_ = streams[1].Abort()
					<-writes[1]
				}, initialWindow(1<<20))
			})
		}
	}
}

// What was taken of the windows for a frame that never went out is there for others.
func TestWindowOfAFrameThatWasNotSent(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s, next := p.open(), p.open()
		p.c.out.turn <- struct{}{} // somebody is in the middle of a frame
		_ = s.SetWriteDeadline(time.Now().Add(time.Second))
		if err := <-s.beginWrite(100); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write() = %v, want %v", err, os.ErrDeadlineExceeded)
		}
		aborted := next.beginWrite(100)
		_ = next.Abort()
		<-aborted
		p.c.out.end()
		if p.c.sendLeft != 65535 || s.sendLeft != 65535 {
			t.Errorf("windows = %d and %d, want 65535", p.c.sendLeft, s.sendLeft)
		}
	})
}

// lastWrite is a connection that dies after one write.
type lastWrite struct {
	net.Conn
	dead bool
}

func (l *lastWrite) Write(p []byte) (int, error) {
	if l.dead {
		return 0, syscall.ECONNRESET
	}
	l.dead = true
	return l.Conn.Write(p)
}

// A frame that left is no failure when the connection dies behind it: whoever wrote it would send it twice.
func TestConnectionDiesBehindAFrame(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.c.out.turn <- struct{}{}
		p.near.Conn = &lastWrite{Conn: p.near.Conn}
		write := s.beginWrite(100)
		synctest.Wait()
		p.do(p.fr.WritePing(false, [8]byte{})) // the answer goes out behind the frame
		p.c.out.end()
		if err := <-write; err != nil {
			t.Errorf("Write() = %v, want nil", err)
		}
		if got := p.takeOne(http2.FrameData).Length; got != 100 {
			t.Errorf("a frame of %d bytes, want 100", got)
		}
		if err := <-s.beginWrite(1); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("second Write() = %v, want %v", err, syscall.ECONNRESET)
		}
	})
}

// Windows are exact after streams have ended in every way, in the middle of everything.
func TestWindowsStayExact(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		l := &ledger{p: p, random: rand.New(rand.NewPCG(1, 2)), granted: 65535, credited: connWindow}
		for i := range 200 {
			l.round(uint32(2*i+1), i%4)
			if n := uint32(l.random.IntN(80_000) + 1); l.granted-l.sent < 200_000 {
				p.do(p.fr.WriteWindowUpdate(0, n))
				l.granted += int64(n)
			}
		}
		p.c.mu.Lock()
		defer p.c.mu.Unlock()
		if want := l.granted - l.sent; p.c.sendLeft != want {
			t.Errorf("window for sending = %d, want %d", p.c.sendLeft, want)
		}
		if want := l.credited - l.received; p.c.recvLeft != want || want+p.c.recvOwed != connWindow {
			t.Errorf("window for receiving = %d, and %d owed, want %d, %d in all",
				p.c.recvLeft, p.c.recvOwed, want, connWindow)
		}
		if left := p.c.budget.left.Load(); len(p.c.streams) != 0 || len(p.c.starved) != 0 || left != 1<<30 {
			t.Errorf("left: %d streams, %d starve, budget %d", len(p.c.streams), len(p.c.starved), left)
		}
	})
}

// ledger counts what the server's end of a connection knows of its windows.
type ledger struct {
	p                  *script
	random             *rand.Rand
	sent, granted      int64 // client to server
	received, credited int64 // server to client
}

// round opens a stream, has it used both ways and ends it in one of four ways.
func (l *ledger) round(id uint32, ending int) {
	p := l.p
	o := p.start(context.Background(), nil)
	p.respond(id, "200")
	<-o.done
	s := o.stream
	wrote := s.beginWrite(l.random.IntN(100_000))
	for range l.random.IntN(20) {
		l.send(id, 1+l.random.IntN(16000), l.random.IntN(7))
		_, _ = s.Read(make([]byte, l.random.IntN(16000)+1))
	}
	switch ending {
	case 0:
		_ = s.Abort()
	case 1:
		_ = s.Close()
	case 2:
		p.do(p.fr.WriteRSTStream(id, http2.ErrCodeCancel))
	case 3:
		_ = s.SetDeadline(time.Now())
	}
	<-wrote
	l.send(id, 1000, 0) // was on its way
	_ = s.Abort()
	for _, f := range p.take() {
		switch {
		case f.Type == http2.FrameData:
			l.sent += int64(f.Length)
		case f.Type == http2.FrameWindowUpdate && f.StreamID == 0:
			l.credited += f.increment()
		}
	}
}

// send sends n bytes with padding.
func (l *ledger) send(id uint32, n, pad int) {
	payload := append([]byte{byte(pad)}, make([]byte, n+pad)...)
	l.p.raw(http2.FrameData, http2.FlagDataPadded, id, payload)
	l.received += int64(len(payload))
}
