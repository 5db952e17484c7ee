package h2

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

func TestResetByTheServer(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		wrote := s.beginWrite(1 << 20)
		p.data(s, "before")
		p.do(p.fr.WriteRSTStream(s.id, http2.ErrCodeInternal))
		if reset, ok := errors.AsType[*StreamError](<-wrote); !ok || reset.Code != CodeInternal {
			t.Errorf("Write() = %v, want a StreamError with INTERNAL_ERROR", reset)
		}
		got, err := io.ReadAll(s)
		reset, ok := errors.AsType[*StreamError](err)
		if string(got) != "before" || !ok || reset.Code != CodeInternal {
			t.Errorf("read %q, %v, want before and a StreamError with INTERNAL_ERROR", got, err)
		}
		if err := s.CloseWrite(); err == nil {
			t.Error("CloseWrite() of a stream that was reset = nil")
		}
		p.take()
		_ = s.Close()
		if got := p.take(); len(got) > 0 {
			t.Errorf("Close() of a stream that was reset sends %v", got)
		}
	})
}

func TestRefusedStreamMayBeRetried(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		o := p.start(t.Context(), nil)
		p.do(p.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream))
		<-o.done
		if !errors.Is(o.err, carrier.ErrRetry) {
			t.Errorf("Open() = %v, want %v", o.err, carrier.ErrRetry)
		}
		o = p.start(t.Context(), nil)
		p.do(p.fr.WriteRSTStream(3, http2.ErrCodeInternal))
		<-o.done
		if errors.Is(o.err, carrier.ErrRetry) {
			t.Errorf("Open() = %v, want another error than %v", o.err, carrier.ErrRetry)
		}
	})
}

// A server that has ended its half may say that it needs no more of ours (RFC 9113, section 8.1).
func TestNoErrorAfterTheEndIsFine(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		wrote := s.beginWrite(1 << 20)
		p.raw(http2.FrameData, http2.FlagDataEndStream, s.id, []byte("all"))
		p.do(p.fr.WriteRSTStream(s.id, http2.ErrCodeNo))
		if err := <-wrote; err == nil {
			t.Error("Write() that the server needs no more = nil")
		}
		if got, err := io.ReadAll(s); string(got) != "all" || err != nil {
			t.Errorf("read %q, %v, want all, nil", got, err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Errorf("CloseWrite() = %v, want nil", err)
		}
		p.take()
		_ = s.Close()
		if got := p.take(); len(got) > 0 {
			t.Errorf("client sends %v on a stream that is over", got)
		}
		if n := p.c.Load().Streams; n != 0 {
			t.Errorf("streams = %d, want 0", n)
		}
	})
}

func TestNoErrorBeforeTheEndIsAnError(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.do(p.fr.WriteRSTStream(s.id, http2.ErrCodeNo))
		if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("Read() = %v, want an error that is not EOF", err)
		}
	})
}

func TestEndOfBothHalves(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.take()
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if f := p.takeOne(http2.FrameData); f.Flags != http2.FlagDataEndStream || f.Length != 0 {
			t.Errorf("client sent %v, want END_STREAM alone", f)
		}
		if err := s.CloseWrite(); err != nil {
			t.Errorf("second CloseWrite() = %v, want nil", err)
		}
		if err := <-s.beginWrite(1); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write() after CloseWrite() = %v, want %v", err, net.ErrClosed)
		}
		p.data(s, "still ")
		p.raw(http2.FrameData, http2.FlagDataEndStream, s.id, []byte("here"))
		if got, err := io.ReadAll(s); string(got) != "still here" || err != nil {
			t.Errorf("read %q, %v, want still here, nil", got, err)
		}
		if n := p.c.Load().Streams; n != 0 {
			t.Errorf("streams = %d, want 0", n)
		}
		p.take()
		_ = s.Close()
		if got := p.take(); len(got) > 0 {
			t.Errorf("Close() of a stream that is over sends %v", got)
		}
	})
}

// The server's end does not stop our half.
func TestWriteAfterTheServersEnd(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.end(s)
		if err := <-s.beginWrite(100); err != nil {
			t.Errorf("Write() = %v, want nil", err)
		}
		if n := total(p.take()); n != 100 {
			t.Errorf("client sent %d bytes, want 100", n)
		}
	})
}

func TestCloseWriteDuringAWrite(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		wrote := s.beginWrite(1 << 20) // more than the window
		p.take()
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := <-wrote; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write() = %v, want %v", err, net.ErrClosed)
		}
		if f := p.takeOne(http2.FrameData); f.Flags != http2.FlagDataEndStream {
			t.Errorf("client sent %v, want END_STREAM", f)
		}
	})
}

// Nothing follows END_STREAM, although a writer has its part of the window already and waits for its turn.
func TestNothingFollowsTheEnd(t *testing.T) {
	for _, end := range []func(*Stream) error{(*Stream).CloseWrite, (*Stream).Close} {
		inSession(t, func(t *testing.T, p *script) {
			other, s := p.open(), p.open()
			p.do(p.fr.WriteWindowUpdate(0, 1<<20))
			p.take()
			p.stopReading()
			first := other.beginWrite(200 << 10) // holds the turn: the pipe is full
			second := s.beginWrite(100)          // waits behind it
			if err := end(s); err != nil {
				t.Errorf("end = %v, want nil", err)
			}
			third := s.beginWrite(100)
			p.startReading()
			if err := <-first; err != nil {
				t.Fatal(err)
			}
			ended := false
			for _, f := range p.takeKind(http2.FrameData) {
				if f.StreamID == s.id && ended {
					t.Errorf("client sent %v after END_STREAM", f)
				}
				ended = ended || f.StreamID == s.id && f.Flags.Has(http2.FlagDataEndStream)
			}
			if !ended {
				t.Error("client sent no END_STREAM")
			}
			if a, b := <-second, <-third; a == nil || b == nil {
				t.Errorf("Write() = %v and %v, want errors", a, b)
			}
		}, initialWindow(1<<20))
	}
}

// Neither a deadline nor Close can keep END_STREAM from going out once CloseWrite was called.
func TestEndIsNotForgotten(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		other, s := p.open(), p.open()
		p.do(p.fr.WriteWindowUpdate(0, 1<<20))
		p.take()
		p.stopReading()
		wrote := other.beginWrite(200 << 10)
		_ = s.SetWriteDeadline(time.Now().Add(-time.Second))
		_ = s.CloseWrite()
		_ = s.Close()
		p.startReading()
		<-wrote
		ended := 0
		for _, f := range p.takeKind(http2.FrameData) {
			if f.StreamID == s.id && f.Flags.Has(http2.FlagDataEndStream) {
				ended++
			}
		}
		if ended != 1 {
			t.Errorf("client sent END_STREAM %d times, want once", ended)
		}
	}, initialWindow(1<<20))
}

func TestCloseLingers(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		start := time.Now()
		p.take()
		_ = s.Close()
		if f := p.takeOne(http2.FrameData); f.Flags != http2.FlagDataEndStream {
			t.Errorf("client sent %v, want END_STREAM", f)
		}
		p.data(s, "a Close frame") // is no reason for a reset
		if got := p.take(); len(got) > 0 {
			t.Errorf("client sends %v while it lingers", got)
		}
		time.Sleep(lingerTime)
		p.wantReset(s.id, http2.ErrCodeCancel)
		if took := time.Since(start); took != lingerTime {
			t.Errorf("reset after %v, want %v", took, lingerTime)
		}
	})
}

func TestLingeringEndsWithTheServers(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.take()
		_ = s.Close()
		p.end(s)
		time.Sleep(2 * lingerTime)
		if got := p.takeKind(http2.FrameRSTStream); len(got) > 0 {
			t.Errorf("client sends %v, want nothing after both ends", got)
		}
	})
}

func TestDownloadThatNobodyWantsIsReset(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.take()
		_ = s.Close()
		for range lingerBytes/16384 + 1 {
			p.data(s, string(make([]byte, 16384)))
		}
		p.wantReset(s.id, http2.ErrCodeCancel)
	})
}

func TestAbort(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		wrote := s.beginWrite(1 << 20)
		read := begun(func() error { _, err := s.Read(make([]byte, 1)); return err })
		p.take()
		_ = s.Abort()
		p.wantReset(s.id, http2.ErrCodeCancel)
		if w, r := <-wrote, <-read; !errors.Is(w, net.ErrClosed) || !errors.Is(r, net.ErrClosed) {
			t.Errorf("Write(), Read() = %v, %v, want %v", w, r, net.ErrClosed)
		}
		_ = s.Abort()
		_ = s.Close()
		if got := p.take(); len(got) > 0 {
			t.Errorf("second Abort() and Close() send %v", got)
		}
	})
}

func TestAbortAfterCloseEndsLingering(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		_ = s.Close()
		p.take()
		_ = s.Abort()
		p.wantReset(s.id, http2.ErrCodeCancel)
	})
}

func TestDeadlines(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		start := time.Now()
		_ = s.SetDeadline(start.Add(time.Second))
		wrote := s.beginWrite(1 << 20)
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read() = %v, want %v", err, os.ErrDeadlineExceeded)
		}
		if err := <-wrote; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write() = %v, want %v", err, os.ErrDeadlineExceeded)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("deadline after %v, want 1s", took)
		}
		_ = s.SetDeadline(time.Time{})
		p.data(s, "x")
		if n, err := s.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("Read() after the deadline was lifted = %d, %v, want 1, nil", n, err)
		}
	})
}
