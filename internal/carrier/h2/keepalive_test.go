package h2

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func TestSilentServer(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		start := time.Now()
		s := p.open()
		p.take()
		dead := begun(func() error { _, err := s.Read(make([]byte, 1)); return err })
		time.Sleep(pingAfter - 1)
		if got := p.take(); len(got) > 0 {
			t.Errorf("client sent %v before %v of silence", got, pingAfter)
		}
		time.Sleep(time.Nanosecond)
		if f := p.takeOne(http2.FramePing); f.Flags.Has(http2.FlagPingAck) {
			t.Errorf("client sent %v, want a ping", f)
		}
		if err := <-dead; !errors.Is(err, ErrPingTimeout) {
			t.Errorf("Read() = %v, want %v", err, ErrPingTimeout)
		}
		if took := time.Since(start); took != pingAfter+pongLimit {
			t.Errorf("connection dead after %v, want %v", took, pingAfter+pongLimit)
		}
	})
}

func TestAnsweredPingsKeepAConnection(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.open()
		p.take()
		for range 20 {
			time.Sleep(pingAfter)
			f := p.takeOne(http2.FramePing)
			time.Sleep(pongLimit - 1)
			p.do(p.fr.WritePing(true, [8]byte(f.payload)))
		}
		p.wantAlive()
	})
}

// Any frame is a sign of life, and so is a part of one.
func TestNeverDeadWhileFramesArrive(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.take()
		for range 20 {
			time.Sleep(pingAfter - 1)
			p.data(s, "x")
		}
		if got := p.takeKind(http2.FramePing); len(got) > 0 {
			t.Errorf("client sent %d pings to a server that talks", len(got))
		}
		_, err := p.far.Write([]byte{0, 0x10, 0, 0, 0, 0, 0, 0, 1}) // DATA of 4096 bytes on a very slow line
		p.do(err)
		for range 4096 / 64 {
			time.Sleep(pingAfter + pongLimit/2)
			_, err := p.far.Write(make([]byte, 64))
			p.do(err)
		}
		p.wantAlive()
	})
}

func TestIdleConnectionIsPinged(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		for range 5 {
			time.Sleep(idlePingAfter - 1)
			if got := p.take(); len(got) > 0 {
				t.Errorf("client sent %v on an idle connection", got)
			}
			time.Sleep(time.Nanosecond)
			p.do(p.fr.WritePing(true, [8]byte(p.takeOne(http2.FramePing).payload)))
		}
		time.Sleep(idlePingAfter + pongLimit)
		if p.take(); !p.c.Ended() {
			t.Error("Ended() of a dead connection = false, want true")
		}
	})
}

// The first flow on a connection that died while it was idle finds out as soon as any other.
func TestStreamOnAConnectionThatWasIdle(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		time.Sleep(20 * time.Second)
		start := time.Now()
		o := p.start(t.Context(), nil)
		if got := p.take(); len(got) != 3 || got[2].Type != http2.FramePing {
			t.Errorf("client sent %v, want HEADERS, WINDOW_UPDATE and PING", got)
		}
		<-o.done
		if took := time.Since(start); took != pongLimit {
			t.Errorf("connection dead after %v, want %v", took, pongLimit)
		}
	})
}

func TestOnlyTheLastPingCounts(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.open()
		p.take()
		p.c.mu.Lock()
		p.c.rtt = 0
		p.c.mu.Unlock()
		time.Sleep(pingAfter)
		first := p.takeOne(http2.FramePing)
		time.Sleep(3 * time.Second)
		p.raw(http2.FramePriority, 0, 1, make([]byte, 5)) // a sign of life, and no answer
		time.Sleep(pingAfter)
		second := p.takeOne(http2.FramePing)
		time.Sleep(100 * time.Millisecond)
		for _, f := range []frame{first, second, second} {
			p.do(p.fr.WritePing(true, [8]byte(f.payload)))
		}
		p.c.mu.Lock()
		defer p.c.mu.Unlock()
		if p.c.rtt != 100*time.Millisecond {
			t.Errorf("measured round trip = %v, want 100ms", p.c.rtt)
		}
	})
}

// An answer to a ping is late behind an upload on a slow line: that the line moves is sign enough.
func TestNeverDeadWhileAnUploadMoves(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.do(p.fr.WriteWindowUpdate(0, 1<<20))
		p.stopReading()
		wrote := s.beginWrite(600 << 10)
		for range 30 {
			time.Sleep(4 * time.Second)
			p.startReading()
			p.stopReading() // one frame was read
		}
		p.startReading()
		if err := <-wrote; err != nil {
			t.Errorf("Write() = %v, want nil", err)
		}
		if p.c.Ended() {
			t.Errorf("connection ended for: %v", p.c.reason())
		}
	}, initialWindow(1<<20))
}

func TestServerThatTalksAndDoesNotListen(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.do(p.fr.WriteWindowUpdate(0, 1<<20))
		p.stopReading()
		start := time.Now()
		wrote := s.beginWrite(600 << 10)
		for !p.c.Ended() && time.Since(start) < 2*stallLimit {
			time.Sleep(time.Second)
			p.raw(http2.FramePriority, 0, 1, make([]byte, 5))
		}
		if err := <-wrote; !errors.Is(err, ErrStalled) {
			t.Errorf("Write() = %v, want %v", err, ErrStalled)
		}
		if took := time.Since(start); took < stallLimit || took > stallLimit+pingAfter+2*time.Second {
			t.Errorf("connection dead after %v, want about %v", took, stallLimit)
		}
		p.startReading()
	}, initialWindow(1<<20))
}
