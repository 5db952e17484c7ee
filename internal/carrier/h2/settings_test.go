package h2

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

func setting(id http2.SettingID, value uint32) http2.Setting {
	return http2.Setting{ID: id, Val: value}
}

func initialWindow(n uint32) http2.Setting { return setting(http2.SettingInitialWindowSize, n) }

func TestInitialWindowMayGoNegative(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.take()
		wrote := s.beginWrite(3000)
		if n := total(p.take()); n != 1000 {
			t.Fatalf("client sent %d bytes into a window of 1000", n)
		}
		p.do(p.fr.WriteSettings(initialWindow(200))) // the stream's window is now -800
		p.do(p.fr.WriteWindowUpdate(s.id, 800))      // 0
		if n := total(p.take()); n != 0 {
			t.Errorf("client sent %d bytes into a window of 0", n)
		}
		p.do(p.fr.WriteWindowUpdate(s.id, 1))
		if n := total(p.take()); n != 1 {
			t.Errorf("client sent %d bytes into a window of 1", n)
		}
		p.do(p.fr.WriteSettings(initialWindow(1000))) // 800
		if n := total(p.take()); n != 800 {
			t.Errorf("client sent %d bytes into a window of 800", n)
		}
		p.do(p.fr.WriteSettings(initialWindow(1 << 20)))
		if n := total(p.take()); n != 1199 {
			t.Errorf("client sent %d bytes, want the last 1199", n)
		}
		if err := <-wrote; err != nil {
			t.Errorf("Write() = %v, want nil", err)
		}
	}, initialWindow(1000))
}

func TestMaxFrameSizeIsHonoured(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		if err := <-s.beginWrite(60_000); err != nil {
			t.Fatal(err)
		}
		got := p.take()
		if n := total(got); n != 60_000 {
			t.Errorf("client sent %d bytes, want 60000", n)
		}
		for _, f := range got {
			if f.Length > 16384-9 {
				t.Errorf("client sent a frame of %d bytes, more than fit a TLS record", f.Length)
			}
		}
	}, setting(http2.SettingMaxFrameSize, 1<<24-1))
}

// A caller with a large buffer gets no larger frames than others do.
func TestHeadroomWriteIsSplit(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		if err := s.WriteHeadroom(make([]byte, 12+40_000+7), 12, 7); err != nil {
			t.Fatal(err)
		}
		for i, f := range p.takeKind(http2.FrameData) {
			if want := [...]uint32{16375, 16375, 7250}[i]; f.Length != want {
				t.Errorf("frame %d has %d bytes, want %d", i, f.Length, want)
			}
		}
	})
}

func TestMaxConcurrentStreams(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		a, b := p.open(), p.open()
		if load := p.c.Load(); load.Streams != 2 || load.Room {
			t.Errorf("Load() = %+v, want 2 streams and no room", load)
		}
		o := p.start(t.Context(), nil)
		<-o.done
		if !errors.Is(o.err, carrier.ErrFull) {
			t.Errorf("Open() of a third stream = %v, want %v", o.err, carrier.ErrFull)
		}
		_ = a.Abort()
		p.open()
		p.do(p.fr.WriteSettings(setting(http2.SettingMaxConcurrentStreams, 1))) // fewer than there are
		if load := p.c.Load(); load.Streams != 2 || load.Room {
			t.Errorf("Load() = %+v, want 2 streams and no room", load)
		}
		if err := <-b.beginWrite(10); err != nil {
			t.Errorf("Write() on one stream too many = %v, want nil", err)
		}
	}, setting(http2.SettingMaxConcurrentStreams, 2))
}

func TestViolatingSettings(t *testing.T) {
	tests := map[string]struct {
		setting http2.Setting
		code    http2.ErrCode
	}{
		"push":                     {setting(http2.SettingEnablePush, 1), codeProtocol},
		"initial window too large": {initialWindow(1 << 31), codeFlow},
		"frame size too small":     {setting(http2.SettingMaxFrameSize, 16383), codeProtocol},
		"frame size too large":     {setting(http2.SettingMaxFrameSize, 1<<24), codeProtocol},
		"connect taken back":       {setting(http2.SettingEnableConnectProtocol, 0), codeProtocol},
		"connect out of range":     {setting(http2.SettingEnableConnectProtocol, 2), codeProtocol},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inSession(t, func(t *testing.T, p *script) {
				p.open()
				p.do(p.fr.WriteSettings(tt.setting))
				p.wantGoAway(tt.code)
			})
		})
	}
}

func TestInitialWindowOverflowsAStream(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.do(p.fr.WriteWindowUpdate(s.id, 1<<31-1-65535))
		p.wantAlive()
		p.do(p.fr.WriteSettings(initialWindow(65536)))
		p.wantGoAway(codeFlow)
	})
}

func TestUnknownSettingsAreIgnored(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.do(p.fr.WriteSettings(setting(0x7777, 5), setting(http2.SettingHeaderTableSize, 0)))
		if f := p.takeOne(http2.FrameSettings); f.Flags != http2.FlagSettingsAck {
			t.Errorf("client sent %v, want an acknowledgement", f)
		}
		p.open()
	})
}

// The server is answered while one application reads nothing and another one is held up by flow control.
func TestAcksWhileApplicationsAreSlow(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		slow, blocked := p.open(), p.open()
		wrote := blocked.beginWrite(1 << 20)
		for range firstWindow / 16384 {
			p.data(slow, string(make([]byte, 16384)))
		}
		p.take()
		p.do(p.fr.WriteSettings())
		if f := p.takeOne(http2.FrameSettings); f.Flags != http2.FlagSettingsAck || f.Length != 0 {
			t.Errorf("client sent %v, want an acknowledgement", f)
		}
		p.wantAlive()
		_ = blocked.Abort()
		<-wrote
	})
}

// What the connection has to say waits for its turn behind a frame that is on its way, and goes out then.
func TestAcksBehindASlowWriter(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.do(p.fr.WriteWindowUpdate(0, 1<<20))
		p.stopReading()
		wrote := s.beginWrite(200 << 10) // the pipe holds 64 KiB
		p.do(p.fr.WritePing(false, [8]byte{7}))
		p.startReading()
		frames := p.take()
		at := -1
		for i, f := range frames {
			if f.Type == http2.FramePing {
				at = total(frames[:i])
			}
		}
		if at < 0 || at > 128<<10 {
			t.Errorf("bytes ahead of the answer to a ping = %d, want what the pipe holds and a frame", at)
		}
		if err := <-wrote; err != nil {
			t.Errorf("Write() = %v, want nil", err)
		}
	}, initialWindow(1<<20), setting(http2.SettingMaxConcurrentStreams, 10))
}

func TestUploadLargerThanTheWindow(t *testing.T) {
	const size = 10 << 20
	c, server := startServer(t) // windows of 65,535 bytes
	s, peer := openPair(t, c, server)
	read := begunOutside(func() (int64, error) { return io.Copy(io.Discard, peer) })
	if _, err := s.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if r := <-read; r.n != size || r.err != nil {
		t.Errorf("server read %d bytes, %v, want %d, nil", r.n, r.err, size)
	}
}

type copied struct {
	n   int64
	err error
}

func begunOutside(f func() (int64, error)) <-chan copied {
	done := make(chan copied, 1)
	go func() {
		n, err := f()
		done <- copied{n, err}
	}()
	return done
}

func TestUnblockedByClose(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		wrote := s.beginWrite(1 << 20)
		_ = p.c.Close()
		synctest.Wait()
		if err := <-wrote; err == nil {
			t.Error("Write() on a connection that was closed = nil")
		}
	})
}
