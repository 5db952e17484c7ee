package h2

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

func TestHello(t *testing.T) {
	inScript(t, Options{}, func(t *testing.T, p *script) {
		got := p.take()
		if p.hello != "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
			t.Errorf("preface = %q", p.hello)
		}
		settings := "\x00\x02\x00\x00\x00\x00" + // ENABLE_PUSH 0
			"\x00\x04\x00\x04\x00\x00" + // INITIAL_WINDOW_SIZE 256 KiB
			"\x00\x05\x00\x01\x00\x00" + // MAX_FRAME_SIZE 64 KiB
			"\x00\x06\x00\x00\x80\x00" // MAX_HEADER_LIST_SIZE 32 KiB
		update := "\x03\xff\x00\x01" // 64 MiB - 65535
		if len(got) != 2 || got[0].Type != http2.FrameSettings || string(got[0].payload) != settings ||
			got[1].Type != http2.FrameWindowUpdate || string(got[1].payload) != update {
			t.Errorf("hello = %v, want SETTINGS %q and WINDOW_UPDATE %q", got, settings, update)
		}
		if sizes := p.near.takeSizes(); !slices.Equal(sizes, []int{24 + 9 + 24 + 9 + 4}) {
			t.Errorf("sizes of writes = %v, want a single one", sizes)
		}
	})
}

// A server may send its SETTINGS before it has read anything.
func TestNothingGoesOutBeforeThePreface(t *testing.T) {
	for range 50 {
		inScript(t, Options{}, func(t *testing.T, p *script) {
			_ = p.fr.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
			go func() { _, _ = p.c.Open(context.Background(), target, nil) }()
			synctest.Wait()
			if p.take(); p.hello != http2.ClientPreface {
				t.Errorf("first bytes = %q, want the preface", p.hello)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.c.budget = NewBudget(0) // no WINDOW_UPDATE behind the request
		u, err := url.Parse("wss://example.com:8443/se%2Fcret/%7Epath;x?b=2&a=1&a=%20+")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = p.c.Open(context.Background(), u, http.Header{
				"Host": {"front.example"}, "X-Custom": {"One", "Two"}, "Origin": {"https://o.example"},
			})
		}()
		f := p.takeOne(http2.FrameHeaders)
		if f.StreamID != 1 || f.Flags != endHeaders {
			t.Errorf("HEADERS = %v, want stream 1 with END_HEADERS alone", f.FrameHeader)
		}
		if sizes := p.near.takeSizes(); len(sizes) != 1 {
			t.Errorf("sizes of writes = %v, want a single one", sizes)
		}
		fields, err := p.hdec.DecodeFull(f.payload)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range fields {
			got = append(got, f.Name+": "+f.Value)
			if f.Sensitive != slices.Contains([]string{":path", "x-custom", "origin"}, f.Name) {
				t.Errorf("field %s is sensitive: %v", f.Name, f.Sensitive)
			}
		}
		slices.Sort(got[6:])
		want := []string{
			":method: CONNECT", ":protocol: websocket", ":scheme: https",
			":path: /se%2Fcret/%7Epath;x?b=2&a=1&a=%20+", ":authority: front.example",
			"sec-websocket-version: 13", "origin: https://o.example", "x-custom: One", "x-custom: Two",
		}
		if !slices.Equal(got, want) {
			t.Errorf("fields = %q, want %q", got, want)
		}
	})
}

func TestLongRequestIsSplit(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		long := strings.Repeat("~", 20_000) // 13 bits each in Huffman code, so sent as it is
		p.start(t.Context(), http.Header{"X-Long": {long}})
		got := p.take()
		if len(got) < 2 || got[0].Type != http2.FrameHeaders || got[0].Flags != 0 || got[0].Length != 16384 ||
			got[1].Type != http2.FrameContinuation || got[1].Flags != endHeaders {
			t.Fatalf("request = %v, want HEADERS of 16384 bytes and CONTINUATION with END_HEADERS", got)
		}
		fields, err := p.hdec.DecodeFull(append(got[0].payload, got[1].payload...))
		isLong := func(f hpack.HeaderField) bool { return f.Value == long }
		if err != nil || !slices.ContainsFunc(fields, isLong) {
			t.Errorf("fields of a long request = %v, %v", fields, err)
		}
	})
}

func TestReadyWaitsForSettings(t *testing.T) {
	inScript(t, Options{}, func(t *testing.T, p *script) {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := p.c.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ready() without SETTINGS = %v, want %v", err, context.DeadlineExceeded)
		}
		if got := p.takeKind(http2.FrameHeaders); len(got) > 0 {
			t.Errorf("client sent %v before SETTINGS", got)
		}
		ready := begun(func() error { return p.c.Ready(context.Background()) })
		p.greet()
		if err := <-ready; err != nil {
			t.Errorf("Ready() = %v, want nil", err)
		}
	})
}

func TestNoExtendedConnect(t *testing.T) {
	for name, settings := range map[string][]http2.Setting{
		"says nothing": nil,
		"says no":      {{ID: http2.SettingEnableConnectProtocol, Val: 0}},
	} {
		t.Run(name, func(t *testing.T) {
			inScript(t, Options{}, func(t *testing.T, p *script) {
				ready := begun(func() error { return p.c.Ready(context.Background()) })
				p.do(p.fr.WriteSettings(settings...))
				if err := <-ready; !errors.Is(err, ErrNoConnect) {
					t.Errorf("Ready() = %v, want %v", err, ErrNoConnect)
				}
			})
		})
	}
}

func TestReadyOfABrokenConnection(t *testing.T) {
	inScript(t, Options{}, func(t *testing.T, p *script) {
		ready := begun(func() error { return p.c.Ready(context.Background()) })
		_ = p.far.Close()
		if err := <-ready; err == nil {
			t.Error("Ready() of a connection that ended = nil")
		}
	})
}

func TestStatusOtherThan200(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		o := p.start(t.Context(), nil)
		p.takeOne(http2.FrameHeaders)
		p.respond(1, "404")
		<-o.done
		status, ok := errors.AsType[*carrier.StatusError](o.err)
		if !ok || status.Code != 404 || status.Want != 200 {
			t.Errorf("Open() = %v, want a StatusError with 404", o.err)
		}
		p.wantReset(1, http2.ErrCodeCancel)
	})
}

func TestOpenIsCancelled(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		ctx, cancel := context.WithCancel(context.Background())
		o := p.start(ctx, nil)
		p.takeOne(http2.FrameHeaders)
		cancel()
		<-o.done
		if !errors.Is(o.err, context.Canceled) {
			t.Errorf("Open() = %v, want %v", o.err, context.Canceled)
		}
		p.wantReset(1, http2.ErrCodeCancel)
		p.respond(1, "200") // on its way while we reset
		p.wantAlive()
	})
}
