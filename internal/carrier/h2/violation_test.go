package h2

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

func TestFramesThatEndTheConnection(t *testing.T) {
	tests := map[string]struct {
		kind    http2.FrameType
		flags   http2.Flags
		stream  uint32
		payload []byte
		code    http2.ErrCode
	}{
		"frame too long":               {http2.FrameData, 0, 1, make([]byte, ourMaxFrame+1), codeFrameSize},
		"unknown frame too long":       {0x77, 0, 0, make([]byte, ourMaxFrame+1), codeFrameSize},
		"window update of 0":           {http2.FrameWindowUpdate, 0, 0, number(0), codeProtocol},
		"window update overflows":      {http2.FrameWindowUpdate, 0, 0, number(1<<31 - 1), codeFlow},
		"window update too short":      {http2.FrameWindowUpdate, 0, 1, []byte{1}, codeFrameSize},
		"window update of idle stream": {http2.FrameWindowUpdate, 0, 3, number(1), codeProtocol},
		"window update, even stream":   {http2.FrameWindowUpdate, 0, 2, number(1), codeProtocol},
		"data on stream 0":             {http2.FrameData, 0, 0, []byte("x"), codeProtocol},
		"data on idle stream":          {http2.FrameData, 0, 3, []byte("x"), codeProtocol},
		"data, padded, no length":      {http2.FrameData, http2.FlagDataPadded, 1, nil, codeFrameSize},
		"data, padding long":           {http2.FrameData, 0x8, 1, []byte{2, 'x'}, codeProtocol},
		"reset of stream 0":            {http2.FrameRSTStream, 0, 0, number(8), codeProtocol},
		"reset of idle stream":         {http2.FrameRSTStream, 0, 3, number(8), codeProtocol},
		"reset too long":               {http2.FrameRSTStream, 0, 1, make([]byte, 5), codeFrameSize},
		"settings on a stream":         {http2.FrameSettings, 0, 1, nil, codeProtocol},
		"settings cut short":           {http2.FrameSettings, 0, 0, make([]byte, 5), codeFrameSize},
		"settings too many":            {http2.FrameSettings, 0, 0, make([]byte, 6*1000), codeFrameSize},
		"settings ack, not empty":      {http2.FrameSettings, 1, 0, make([]byte, 6), codeFrameSize},
		"ping on a stream":             {http2.FramePing, 0, 1, make([]byte, 8), codeProtocol},
		"ping too short":               {http2.FramePing, 0, 0, make([]byte, 7), codeFrameSize},
		"goaway on a stream":           {http2.FrameGoAway, 0, 1, make([]byte, 8), codeProtocol},
		"goaway too short":             {http2.FrameGoAway, 0, 0, make([]byte, 7), codeFrameSize},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inSession(t, func(t *testing.T, p *script) {
				s := p.open()
				p.take()
				p.t = &testing.T{} // the client may hang up in the middle of the frame
				p.raw(tt.kind, tt.flags, tt.stream, tt.payload)
				p.t = t
				p.wantGoAway(tt.code)
				if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("Read() = %v, want an error that is not EOF", err)
				}
			})
		})
	}
}

func TestFirstFrameMustBeSettings(t *testing.T) {
	for name, flags := range map[string]http2.Flags{"ping": 0, "acknowledgement": http2.FlagSettingsAck} {
		t.Run(name, func(t *testing.T) {
			inScript(t, Options{}, func(t *testing.T, p *script) {
				p.take()
				if flags == 0 {
					p.raw(http2.FramePing, 0, 0, make([]byte, 8))
				} else {
					p.raw(http2.FrameSettings, flags, 0, nil)
				}
				p.wantGoAway(codeProtocol)
			})
		})
	}
}

func TestFramesThatEndAStream(t *testing.T) {
	tests := map[string]struct {
		send func(p *script, s *Stream)
		code http2.ErrCode
	}{
		"window update of 0": {func(p *script, s *Stream) {
			p.raw(http2.FrameWindowUpdate, 0, s.id, number(0))
		}, codeProtocol},
		"window update overflows": {func(p *script, s *Stream) {
			p.raw(http2.FrameWindowUpdate, 0, s.id, number(1<<31-1-65535+1))
		}, codeFlow},
		"data after the end": {func(p *script, s *Stream) {
			p.end(s)
			p.data(s, "x")
		}, http2.ErrCodeStreamClosed},
		"headers after the end": {func(p *script, s *Stream) {
			p.end(s)
			p.respond(s.id, "200")
		}, http2.ErrCodeStreamClosed},
		"more than the window": {func(p *script, s *Stream) {
			for range firstWindow / 16384 {
				p.data(s, string(make([]byte, 16384)))
			}
			p.data(s, "x")
		}, codeFlow},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inSession(t, func(t *testing.T, p *script) {
				s := p.open()
				p.take()
				tt.send(p, s)
				p.wantReset(s.id, tt.code)
				if err := <-s.beginWrite(1); err == nil {
					t.Error("Write() on a stream that was reset = nil")
				}
			})
		})
	}
}

func TestDataBeforeTheResponse(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		o := p.start(t.Context(), nil)
		p.take()
		p.raw(http2.FrameData, 0, 1, []byte("x"))
		if <-o.done; o.err == nil {
			t.Error("Open() = nil, want an error")
		}
		p.wantReset(1, codeProtocol)
	})
}

func TestMoreThanTheConnectionsWindow(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.open()
		p.take()
		p.c.mu.Lock()
		p.c.recvLeft, p.c.recvOwed = 10, 0
		p.c.mu.Unlock()
		p.raw(http2.FrameData, 0, 1, make([]byte, 10))
		p.wantAlive()
		p.raw(http2.FrameData, 0, 1, nil)
		p.raw(http2.FrameData, 0, 1, make([]byte, 1))
		p.wantGoAway(codeFlow)
	})
}

func TestFramesThatAreIgnored(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		gone := p.open()
		_ = gone.Abort()
		p.wantReset(gone.id, http2.ErrCodeCancel)
		p.data(gone, "on its way")
		p.end(gone)
		p.raw(http2.FrameWindowUpdate, 0, gone.id, number(5))
		p.raw(http2.FrameWindowUpdate, 0, gone.id, number(0))
		p.raw(http2.FrameRSTStream, 0, gone.id, number(8))
		p.raw(http2.FramePriority, 0, gone.id, make([]byte, 5))
		p.raw(http2.FramePriority, 0, 99, make([]byte, 5))
		p.raw(0x77, 0xff, 99, make([]byte, 5000))
		p.raw(http2.FramePing, http2.FlagPingAck, 0, []byte("not ours"))
		p.wantAlive()
		if s := p.open(); s.id != 3 {
			t.Errorf("id of the second stream = %d, want 3", s.id)
		}
	})
}

func TestFloods(t *testing.T) {
	tests := map[string]struct {
		kind    http2.FrameType
		flags   http2.Flags
		stream  uint32
		payload []byte
	}{
		"ping":           {http2.FramePing, 0, 0, make([]byte, 8)},
		"pong":           {http2.FramePing, http2.FlagPingAck, 0, make([]byte, 8)},
		"settings":       {http2.FrameSettings, 0, 0, nil},
		"settings ack":   {http2.FrameSettings, http2.FlagSettingsAck, 0, nil},
		"reset":          {http2.FrameRSTStream, 0, 1, number(8)},
		"empty data":     {http2.FrameData, 0, 1, nil},
		"padding alone":  {http2.FrameData, http2.FlagDataPadded, 1, []byte{0}},
		"priority":       {http2.FramePriority, 0, 1, make([]byte, 5)},
		"unknown":        {0x99, 0, 0, nil},
		"goaway":         {http2.FrameGoAway, 0, 0, append(number(1<<31-1), 0, 0, 0, 0)},
		"interim answer": {http2.FrameHeaders, endHeaders, 3, []byte{0x08, 3, '1', '0', '3'}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inSession(t, func(t *testing.T, p *script) {
				p.open()
				p.start(t.Context(), nil)
				p.take()
				sent := 0
				for ; sent < 3*maxFloods; sent++ {
					if p.fr.WriteRawFrame(tt.kind, tt.flags, tt.stream, tt.payload) != nil {
						break
					}
				}
				t.Logf("%d frames", sent)
				p.wantGoAway(codeCalm)
			})
		})
	}
}

// A server that asks and does not read the answers does not fill our memory.
func TestAnswersNobodyReads(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.stopReading()
		p.t = &testing.T{}
		sent := 0
		for ; sent < 3*maxFloods/2 && !p.c.Ended(); sent++ {
			_ = p.fr.WritePing(false, [8]byte{})
		}
		synctest.Wait()
		p.t = t
		p.c.out.mu.Lock()
		defer p.c.out.mu.Unlock()
		if n := cap(p.c.out.control) + cap(p.c.out.spare); !p.c.Ended() || n > 4*maxControl {
			t.Errorf("after %d pings: ended %v, %d bytes held", sent, p.c.Ended(), n)
		}
		p.startReading()
	})
}

// An aborted download of many small frames is no flood: its window bounds it.
func TestSmallFramesOfAnAbortedDownload(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		_ = s.Abort()
		for range 2*maxFloods + 10 {
			if err := p.fr.WriteData(s.id, false, []byte("0123456789")); err != nil {
				t.Fatalf("%v; the connection ended for: %v", err, p.c.reason())
			}
		}
		p.wantAlive()
	})
}
