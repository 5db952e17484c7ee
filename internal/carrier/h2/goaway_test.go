package h2

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

func TestGoAway(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		known := p.open()
		opening := p.start(t.Context(), nil) // stream 3
		p.take()
		p.do(p.fr.WriteGoAway(1, http2.ErrCodeNo, []byte("going down for maintenance")))
		<-opening.done
		if !errors.Is(opening.err, carrier.ErrRetry) {
			t.Errorf("Open() above the last stream = %v, want %v", opening.err, carrier.ErrRetry)
		}
		p.wantNoStreams()
		if err := <-known.beginWrite(100); err != nil {
			t.Errorf("Write() below the last stream = %v, want nil", err)
		}
		p.raw(http2.FrameData, http2.FlagDataEndStream, 1, []byte("whole"))
		if got, err := io.ReadAll(known); string(got) != "whole" || err != nil {
			t.Errorf("read %q, %v, want whole, nil", got, err)
		}
		if p.c.Ended() {
			t.Fatal("Ended() = true with a stream left, want false")
		}
		p.take()
		_ = known.CloseWrite()
		got := p.take()
		if len(got) != 2 || !got[0].Flags.Has(http2.FlagDataEndStream) || got[1].Type != http2.FrameGoAway {
			t.Errorf("client ends the connection with %v, want END_STREAM and GOAWAY", got)
		}
		if !p.c.Ended() {
			t.Error("Ended() = false after the last stream, want true")
		}
	})
}

// wantNoStreams wants the client to open no streams any more.
func (p *script) wantNoStreams() {
	p.t.Helper()
	if p.c.Usable() {
		p.t.Error("Usable() after GOAWAY = true, want false")
	}
	if _, err := p.c.Open(context.Background(), target, nil); !errors.Is(err, carrier.ErrRetry) {
		p.t.Errorf("Open() after GOAWAY = %v, want %v", err, carrier.ErrRetry)
	}
	if got := p.takeKind(http2.FrameHeaders); len(got) > 0 {
		p.t.Errorf("client opens streams after GOAWAY: %v", got)
	}
}

func TestGoAwayOfAnIdleConnection(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		p.do(p.fr.WriteGoAway(0, http2.ErrCodeNo, nil))
		if !p.c.Ended() {
			t.Error("Ended() = false, want true")
		}
	})
}

func TestGracefulGoAway(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		a, b := p.open(), p.open()
		p.do(p.fr.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil))
		p.wantNoStreams()
		for _, s := range []*Stream{a, b} {
			if err := <-s.beginWrite(10); err != nil {
				t.Errorf("Write() after the first GOAWAY = %v, want nil", err)
			}
		}
		p.do(p.fr.WriteGoAway(a.id, http2.ErrCodeNo, nil))
		if err := <-a.beginWrite(10); err != nil {
			t.Errorf("Write() below the last stream = %v, want nil", err)
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, carrier.ErrRetry) || errors.Is(err, io.EOF) {
			t.Errorf("Read() above the last stream = %v, want %v", err, carrier.ErrRetry)
		}
		_ = a.Abort()
		_ = b.Close()
		if p.take(); !p.c.Ended() {
			t.Error("Ended() = false after the last stream, want true")
		}
	})
}

func TestConnectionKilledUnderManyStreams(t *testing.T) {
	const flows = 200
	c, s := startServer(t)
	var ended sync.WaitGroup
	errs := make(chan error, 2*flows)
	for range flows {
		a, _ := openPair(t, c, s)
		ended.Go(func() {
			_, err := a.Read(make([]byte, 1))
			errs <- err
			_ = a.Close()
		})
		ended.Go(func() {
			_, err := a.Write(make([]byte, 1<<20))
			errs <- err
		})
	}
	_ = s.conn.Abort()
	ended.Wait()
	close(errs)
	for err := range errs {
		if err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("error of a flow = %v, want one that is not EOF", err)
		}
	}
	if load := c.Load(); load.Streams != 0 {
		t.Errorf("streams of a dead connection = %d, want 0", load.Streams)
	}
	if left := c.budget.left.Load(); left != 1<<30 {
		t.Errorf("budget = %d, want all of %d", left, 1<<30)
	}
}

// The end of a connection in the middle of the handshake of a stream is no reason to fail its flow.
func TestConnectionEndsDuringOpen(t *testing.T) {
	inSession(t, func(t *testing.T, p *script) {
		o := p.start(context.Background(), nil)
		_ = p.far.Abort()
		<-o.done
		if !errors.Is(o.err, carrier.ErrRetry) {
			t.Errorf("Open() = %v, want %v", o.err, carrier.ErrRetry)
		}
		if _, err := p.c.Open(context.Background(), target, nil); !errors.Is(err, carrier.ErrRetry) {
			t.Errorf("Open() on a dead connection = %v, want %v", err, carrier.ErrRetry)
		}
	})
}
