package h2

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

func TestHeaderBlockInPieces(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		o := p.start(t.Context(), nil)
		block := p.block(":status", "200", "server", "test", "x-long", strings.Repeat("z", 500))
		padded := append([]byte{3, 0, 0, 0, 1, 0}, block[:10]...) // 3 bytes of padding; a priority
		padded = append(padded, 0, 0, 0)
		p.raw(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersPriority, 1, padded)
		p.raw(http2.FrameContinuation, 0, 1, block[10:20])
		p.raw(http2.FrameContinuation, 0, 1, nil)
		p.raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, block[20:])
		<-o.done
		if o.err != nil {
			t.Errorf("Open() = %v, want nil", o.err)
		}
		p.wantAlive()
	})
}

func TestInterimResponseAndTrailers(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		o := p.start(t.Context(), nil)
		p.respond(1, "103")
		p.respond(1, "200")
		<-o.done
		if o.err != nil {
			t.Fatalf("Open() = %v, want nil", o.err)
		}
		p.data(o.stream, "body")
		trailer := p.block("x-trailer", "1")
		p.raw(http2.FrameHeaders, endHeaders|http2.FlagHeadersEndStream, 1, trailer)
		if got, err := io.ReadAll(o.stream); string(got) != "body" || err != nil {
			t.Errorf("read %q, %v, want body, nil", got, err)
		}
	})
}

func TestResponseThatEndsTheStream(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		o := p.start(t.Context(), nil)
		p.raw(http2.FrameHeaders, endHeaders|http2.FlagHeadersEndStream, 1, p.block(":status", "200"))
		<-o.done
		if o.err != nil {
			t.Fatalf("Open() = %v, want nil", o.err)
		}
		if got, err := io.ReadAll(o.stream); len(got) != 0 || err != nil {
			t.Errorf("read %q, %v, want an empty stream", got, err)
		}
	})
}

// The decoder's table must go on when a block is for a stream that nobody wants any more.
func TestHeadersOfAStreamThatIsGone(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		a, b := p.start(t.Context(), nil), p.start(t.Context(), nil)
		p.c.mu.Lock()
		gone := p.c.streams[1]
		p.c.mu.Unlock()
		_ = gone.Abort()
		p.raw(http2.FrameHeaders, endHeaders, 1, p.block(":status", "299", "x-new", "for the table"))
		p.raw(http2.FrameHeaders, endHeaders, 3, p.block(":status", "200", "x-new", "for the table"))
		<-a.done
		<-b.done
		if a.err == nil || b.err != nil {
			t.Errorf("Open() = %v and %v, want an error and nil", a.err, b.err)
		}
	})
}

func TestViolatingHeaders(t *testing.T) {
	tests := map[string]struct {
		send func(p *script)
		code http2.ErrCode
	}{
		"another stream's continuation": {func(p *script) {
			p.raw(http2.FrameHeaders, 0, 1, p.block(":status", "200"))
			p.raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 3, nil)
		}, codeProtocol},
		"interrupted by another frame": {func(p *script) {
			p.raw(http2.FrameHeaders, 0, 1, p.block(":status", "200"))
			p.raw(http2.FramePing, 0, 0, make([]byte, 8))
		}, codeProtocol},
		"continuation of nothing": {func(p *script) {
			p.raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, p.block(":status", "200"))
		}, codeProtocol},
		"too many pieces": {func(p *script) {
			p.raw(http2.FrameHeaders, 0, 1, nil)
			for range maxContinuations + 1 {
				if !p.c.Ended() {
					p.raw(http2.FrameContinuation, 0, 1, []byte{0x82})
				}
			}
		}, codeCalm},
		"too long a block": {func(p *script) {
			p.raw(http2.FrameHeaders, 0, 1, make([]byte, 16384))
			p.raw(http2.FrameContinuation, 0, 1, []byte{0})
		}, codeCalm},
		"too long a list": {func(p *script) {
			block := p.block("x-big", strings.Repeat("v", 3000)) // from now on one byte stands for it
			block = append(block, bytes.Repeat([]byte{0x80 | 62}, 20)...)
			p.raw(http2.FrameHeaders, endHeaders, 1, block)
		}, codeCalm},
		"nonsense": {func(p *script) {
			p.raw(http2.FrameHeaders, endHeaders, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}, http2.ErrCodeCompression},
		"cut short": {func(p *script) {
			p.raw(http2.FrameHeaders, endHeaders, 1, []byte{0x40, 5, 'x'})
		}, http2.ErrCodeCompression},
		"padding longer than the frame": {func(p *script) {
			p.raw(http2.FrameHeaders, endHeaders|http2.FlagHeadersPadded, 1, []byte{9, 0x88})
		}, codeProtocol},
		"padded without a length": {func(p *script) {
			p.raw(http2.FrameHeaders, endHeaders|http2.FlagHeadersPadded, 1, nil)
		}, codeFrameSize},
		"priority cut short": {func(p *script) {
			p.raw(http2.FrameHeaders, endHeaders|http2.FlagHeadersPriority, 1, []byte{0, 0, 0, 1})
		}, codeFrameSize},
		"on stream 0": {func(p *script) {
			p.raw(http2.FrameHeaders, endHeaders, 0, p.block(":status", "200"))
		}, codeProtocol},
		"on a stream that was never opened": {func(p *script) {
			p.raw(http2.FrameHeaders, endHeaders, 5, p.block(":status", "200"))
		}, codeProtocol},
		"on a stream of the server's": {func(p *script) {
			p.raw(http2.FrameHeaders, endHeaders, 2, p.block(":status", "200"))
		}, codeProtocol},
		"push promise": {func(p *script) {
			p.raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, []byte{0, 0, 0, 2})
		}, codeProtocol},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inSession(t, func(t *testing.T, p *script) {
				p.start(t.Context(), nil)
				p.take()
				tt.send(p)
				p.wantGoAway(tt.code)
			})
		})
	}
}

// What is wrong with one response ends its stream alone.
func TestMalformedResponse(t *testing.T) {
	tests := map[string]struct {
		flags http2.Flags
		field [2]string
	}{
		"no status":            {0, [2]string{"server", "x"}},
		"status is no number":  {0, [2]string{":status", "abc"}},
		"status out of range":  {0, [2]string{":status", "1000"}},
		"interim with the end": {http2.FlagHeadersEndStream, [2]string{":status", "103"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inSession(t, func(t *testing.T, p *script) {
				o := p.start(t.Context(), nil)
				p.take()
				p.raw(http2.FrameHeaders, endHeaders|tt.flags, 1, p.block(tt.field[0], tt.field[1]))
				<-o.done
				if _, ok := errors.AsType[*violation](o.err); !ok {
					t.Errorf("Open() = %v, want a violation", o.err)
				}
				p.wantReset(1, codeProtocol)
			})
		})
	}
}

func TestSecondResponse(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		s := p.open()
		p.take()
		p.respond(s.id, "200")
		p.wantReset(s.id, codeProtocol)
	})
}
