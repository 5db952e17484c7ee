package h3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestConformance(t *testing.T) {
	s := newServer(t).start()
	d := s.client()
	transporttest.Conformance(t, func(*testing.T) (a, b transport.StreamConn) {
		return s.open(d)
	})
}

// session is the only connection of a dialer.
func session(t *testing.T, near *Stream) *Conn {
	t.Helper()
	if near.c == nil {
		t.Fatal("a stream without a connection")
	}
	return near.c
}

func TestResetsCarryTheirCode(t *testing.T) {
	s := newServer(t).start()
	d := s.client()
	near, far := s.open(d)
	far.CancelWrite(quic.StreamErrorCode(http3.ErrCodeConnectError))
	_, err := near.Read(make([]byte, 1))
	if reset, ok := errors.AsType[*StreamError](err); !ok || reset.Code != http3.ErrCodeConnectError {
		t.Errorf("read behind a reset = %v, want %v", err, &StreamError{http3.ErrCodeConnectError})
	}
	far.CancelRead(quic.StreamErrorCode(http3.ErrCodeExcessiveLoad))
	for err = nil; err == nil; {
		_, err = near.Write(make([]byte, 1000))
	}
	if reset, ok := errors.AsType[*StreamError](err); !ok || reset.Code != http3.ErrCodeExcessiveLoad {
		t.Errorf("write behind STOP_SENDING = %v, want %v", err, &StreamError{http3.ErrCodeExcessiveLoad})
	}
	if _, again := near.Write([]byte("x")); !errors.Is(again, err) {
		t.Errorf("second write = %v, want %v", again, err)
	}
	if err := near.CloseWrite(); err == nil {
		t.Error("CloseWrite of a broken half = nil, want an error")
	}
}

func TestAbortIsARequestCancelled(t *testing.T) {
	s := newServer(t).start()
	near, far := s.open(s.client())
	if err := near.Abort(); err != nil {
		t.Fatal(err)
	}
	_, err := far.Read(make([]byte, 1))
	if reset, ok := errors.AsType[*http3.Error](err); !ok || reset.ErrorCode != http3.ErrCodeRequestCanceled {
		t.Errorf("server's read behind an abort = %v, want %v", err, http3.ErrCodeRequestCanceled)
	}
	for err = nil; err == nil; {
		_, err = far.Write(make([]byte, 1000))
	}
	if reset, ok := errors.AsType[*http3.Error](err); !ok || reset.ErrorCode != http3.ErrCodeRequestCanceled {
		t.Errorf("server's write behind an abort = %v, want %v", err, http3.ErrCodeRequestCanceled)
	}
}

// A server takes STOP_SENDING for the end of the request: what we sent must have arrived before.
func TestCloseDoesNotCancelTheRequest(t *testing.T) {
	s := newServer(t)
	contexts := make(chan context.Context, 1)
	s.handle = func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		stream, err := w.(http3.HTTPStreamer).HTTPStream()
		if err != nil {
			t.Error(err)
			return
		}
		contexts <- r.Context()
		s.opened <- &farStream{Stream: stream}
		<-s.opened // the test says when
	}
	s.opened = make(chan *farStream)
	s.start()
	near, far := s.open(s.client())
	ctx := <-contexts
	sent := bytes.Repeat([]byte("upload"), 10000)
	if _, err := near.Write(sent); err != nil {
		t.Fatal(err)
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("server read %d bytes and %v after Close, want %d and EOF", len(got), err, len(sent))
	}
	if ctx.Err() != nil {
		t.Errorf("request after Close: %v, want it to go on until the server ends it", ctx.Err())
	}
	if err := far.Stream.Close(); err != nil {
		t.Fatal(err)
	}
	c := session(t, near)
	untilIdle(t, c)
	s.opened <- nil
}

// TestWindowsBoundWhatNobodyReads: a server cannot send more than the windows hold, neither on one stream nor
// on all of a connection.
func TestWindowsBoundWhatNobodyReads(t *testing.T) {
	const first, conn, streams = 64 << 10, 128 << 10, 4
	s := newServer(t).start()
	d := s.client(func(c *Config) { c.Options.Windows = Windows{First: first, Most: first, Conn: conn} })
	var ends []*farStream
	for range streams {
		_, far := s.open(d)
		ends = append(ends, far)
	}
	total := 0
	for i, far := range ends {
		if err := far.SetWriteDeadline(time.Now().Add(time.Second / 4)); err != nil {
			t.Fatal(err)
		}
		n, err := far.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing to stream %d ended with %v, want a timeout", i, err)
		}
		if n > first {
			t.Errorf("stream %d took %d bytes, want at most %d", i, n, first)
		}
		total += n
	}
	if total > conn || total < conn/2 {
		t.Errorf("the connection took %d bytes, want up to %d", total, conn)
	}
}

// untilIdle waits until no stream of a connection is open or lingers.
func untilIdle(t *testing.T, c *Conn) {
	t.Helper()
	until(t, "no stream", func() bool { return c.Load().Streams == 0 })
	if c.IdleSince().IsZero() {
		t.Error("IdleSince() without streams is zero")
	}
}

// until waits for a fact that nothing announces.
func until(t *testing.T, what string, fact func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	end := time.After(patience)
	for !fact() {
		select {
		case <-ticker.C:
		case <-end:
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// A server that does not stop sending is told to, and its bytes do not occupy the connection.
func TestCloseStopsADownload(t *testing.T) {
	s := newServer(t).start()
	near, far := s.open(s.client())
	wrote := make(chan error)
	go func() {
		block := make([]byte, 64<<10)
		for {
			if _, err := far.Write(block); err != nil {
				wrote <- err
				return
			}
		}
	}()
	if _, err := io.ReadFull(near, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	err := <-wrote
	if reset, ok := errors.AsType[*http3.Error](err); !ok || reset.ErrorCode != http3.ErrCodeRequestCanceled {
		t.Errorf("server's write behind Close = %v, want %v", err, http3.ErrCodeRequestCanceled)
	}
	untilIdle(t, session(t, near))
}

func TestCloseWriteDuringAWriteGoesBehindIt(t *testing.T) {
	s := newServer(t)
	s.config.InitialStreamReceiveWindow = 1 << 10
	s.config.MaxStreamReceiveWindow = 1 << 10
	s.start()
	near, far := s.open(s.client())
	sent := bytes.Repeat([]byte("0123456789"), 100<<10)
	wrote := make(chan error)
	go func() {
		_, err := near.Write(sent)
		wrote <- err
	}()
	if _, err := io.ReadFull(far, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := near.CloseWrite(); err != nil { // the window is 1 KiB: the write is under way
		t.Fatal(err)
	}
	rest, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(rest, sent[1000:]) {
		t.Errorf("server read %d bytes and %v, want %d and EOF", len(rest), err, len(sent)-1000)
	}
	if err := <-wrote; err != nil {
		t.Errorf("write = %v, want nil", err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, errWriteAfterEnd) {
		t.Errorf("write after CloseWrite = %v, want %v", err, errWriteAfterEnd)
	}
}

// FIN in the middle of a frame would end the whole connection.
func TestTimeoutInAFrameBreaksOurHalfAlone(t *testing.T) {
	s := newServer(t)
	s.config.InitialStreamReceiveWindow = 1 << 10
	s.config.MaxStreamReceiveWindow = 1 << 10
	s.start()
	d := s.client()
	near, far := s.open(d)
	other, otherFar := s.open(d)
	_ = near.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := near.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := near.CloseWrite(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("CloseWrite = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if _, err := io.Copy(io.Discard, far); err == nil {
		t.Error("server read EOF in the middle of a frame")
	}
	if _, err := other.Write([]byte("x")); err != nil {
		t.Errorf("write on another stream = %v, want nil", err)
	}
	if _, err := otherFar.Read(make([]byte, 1)); err != nil {
		t.Errorf("server's read on another stream = %v, want nil", err)
	}
}

// A connection that goes away breaks its streams visibly, and the next flow gets a new one.
func TestLostConnectionBreaksItsStreams(t *testing.T) {
	const flows = 50
	s := newServer(t).start()
	d := s.client()
	var near [flows]*Stream
	for i := range near {
		near[i], _ = s.open(d)
	}
	var reading sync.WaitGroup
	for _, n := range near {
		reading.Go(func() {
			_, err := n.Read(make([]byte, 1))
			wantBroken(t, "read on a lost connection", err)
			if _, ok := errors.AsType[*ConnError](err); !ok {
				t.Errorf("read on a lost connection = %T, want a ConnError", err)
			}
		})
	}
	s.mu.Lock()
	conns := s.conns
	s.mu.Unlock()
	for _, c := range conns {
		_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
	}
	reading.Wait()
	for _, n := range near {
		_, err := n.Write([]byte("x"))
		wantBroken(t, "write on a lost connection", err)
		if err := n.CloseWrite(); err == nil {
			t.Error("CloseWrite on a lost connection = nil, want an error")
		}
		_ = n.Close()
	}
	c := session(t, near[0])
	until(t, "connection has ended", c.Ended)
	if c.Usable() {
		t.Error("Usable() of a lost connection = true, want false")
	}
	again, far := s.open(d)
	if _, err := again.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Read(make([]byte, 1)); err != nil {
		t.Errorf("read on a new connection = %v, want nil", err)
	}
}

func TestManyStreamsAtOnce(t *testing.T) {
	const flows = 500
	s := newServer(t)
	s.handle = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		stream, err := w.(http3.HTTPStreamer).HTTPStream()
		if err != nil {
			t.Error(err)
			return
		}
		_, err = io.Copy(stream, stream)
		if err != nil {
			t.Error(err)
		}
		_ = stream.Close()
	}
	s.requests = make(chan *http.Request, flows)
	s.start()
	d := s.client()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want := bytes.Repeat([]byte("flow"), 1000)
	var running sync.WaitGroup
	for range flows {
		running.Go(func() {
			c, err := d.DialCarrier(ctx, s.url())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := c.Write(want); err != nil {
				t.Error(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("echo = %d bytes and %v, want %d and EOF", len(got), err, len(want))
			}
		})
	}
	running.Wait()
}

func TestUseAfterClose(t *testing.T) {
	s := newServer(t).start()
	near, _ := s.open(s.client())
	_ = near.Close()
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close = %v, want %v", err, net.ErrClosed)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close = %v, want %v", err, net.ErrClosed)
	}
	if err := near.CloseWrite(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("CloseWrite after Close = %v, want %v", err, net.ErrClosed)
	}
	for name, set := range map[string]func(time.Time) error{
		"SetDeadline":      near.SetDeadline,
		"SetReadDeadline":  near.SetReadDeadline,
		"SetWriteDeadline": near.SetWriteDeadline,
	} {
		if err := set(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close = %v, want %v", name, err, net.ErrClosed)
		}
	}
}
