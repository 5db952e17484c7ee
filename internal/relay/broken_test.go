package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestStreamsPassesResetsOn(t *testing.T) {
	rows := []struct {
		name string
		ends func(c *conversation) (broken, other transport.StreamConn)
	}{
		{"client", func(c *conversation) (_, _ transport.StreamConn) { return c.app, c.far }},
		{"target", func(c *conversation) (_, _ transport.StreamConn) { return c.far, c.app }},
	}
	for _, row := range rows {
		for _, over := range pairs {
			for _, first := range []int{0, 5, 10_000} {
				t.Run(row.name+" over "+over.name, func(t *testing.T) {
					c := converse(t.Context(), t, over.pair, Limits{})
					broken, other := row.ends(c)
					mustWrite(t, broken, payload(first))
					mustRead(t, other, first)
					if err := transport.Abort(broken); err != nil {
						t.Fatalf("Abort() = %v, want nil", err)
					}
					wantReset(t, "other end", other)
					r := c.wait(t)
					if !errors.Is(r.Err, syscall.ECONNRESET) || r.Sent+r.Received != int64(first) {
						t.Errorf("Streams = %+v, want %d bytes and error %v", r, first, syscall.ECONNRESET)
					}
				})
			}
		}
	}
}

// A reset must come through after the other half has ended cleanly, too.
func TestStreamsResetAfterHalfClose(t *testing.T) {
	c := converse(t.Context(), t, tcpPair, Limits{})
	sendHalf(t, c.app, c.far, payload(1000))
	mustWrite(t, c.far, payload(10))
	mustRead(t, c.app, 10)
	_ = transport.Abort(c.far)
	wantReset(t, "application", c.app)
	if r := c.wait(t); !errors.Is(r.Err, syscall.ECONNRESET) {
		t.Errorf("Streams = %+v, want error %v", r, syscall.ECONNRESET)
	}
}

var errUpload = errors.New("upload broke")

// afterUpload runs a conversation whose target takes nothing. serve is the target's end and starts when the
// upload has failed; what the application reads until its end is returned with the time that took.
func afterUpload(t *testing.T, serve func(far transport.StreamConn)) (got read, took time.Duration) {
	t.Helper()
	target, far := transporttest.Pipe()
	c := converseWith(t.Context(), t, pipePair, brokenWriter{target, errUpload})
	answer := readAll(c.app)
	start := time.Now()
	mustWrite(t, c.app, payload(10))
	synctest.Wait()
	serve(far)
	got = <-answer
	took = time.Since(start)
	if r := c.wait(t); !errors.Is(r.Err, errUpload) {
		t.Errorf("Streams = %+v, want error %v", r, errUpload)
	}
	if _, err := far.Write(payload(1)); err == nil {
		t.Error("target's write after the end of the flow = nil, want an error")
	}
	return got, took
}

// The answer that is in flight when the upload breaks often says why it broke.
func TestStreamsLastWords(t *testing.T) {
	want := payload(100_000)
	rows := []struct {
		name  string
		serve func(far transport.StreamConn)
		took  time.Duration
	}{
		{"then the end", func(far transport.StreamConn) {
			mustWrite(t, far, want)
			<-time.After(lastWords / 2)
			_ = far.CloseWrite()
		}, lastWords / 2},
		{"then a reset", func(far transport.StreamConn) {
			mustWrite(t, far, want)
			<-time.After(lastWords / 4)
			_ = transport.Abort(far)
		}, lastWords / 4},
		{"then silence", func(far transport.StreamConn) { mustWrite(t, far, want) }, lastWords},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, took := afterUpload(t, row.serve)
				if !bytes.Equal(got.data, want) || !isReset(got.err) {
					t.Errorf("application read %d bytes, %v, want all %d, then a reset",
						len(got.data), got.err, len(want))
				}
				if took != row.took {
					t.Errorf("reset after %v, want %v", took, row.took)
				}
			})
		})
	}
}

func TestStreamsLastWordsAreBounded(t *testing.T) {
	t.Run("endless answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			got, took := afterUpload(t, func(far transport.StreamConn) {
				for {
					if _, err := far.Write(payload(1000)); err != nil {
						return
					}
					<-time.After(lastWords / 100)
				}
			})
			if !isReset(got.err) || took < lastWords || took > lastWords+lastWords/50 {
				t.Errorf("application's read ended with %v after %v, want a reset after %v",
					got.err, took, lastWords)
			}
		})
	})
	t.Run("client that reads nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			target, far := transporttest.Pipe()
			c := converseWith(t.Context(), t, pipePair, brokenWriter{target, errUpload})
			flooded := make(chan error, 1)
			go func() {
				_, err := far.Write(payload(1 << 20))
				flooded <- err
			}()
			synctest.Wait() // the relay is stuck in its write to the client
			start := time.Now()
			mustWrite(t, c.app, payload(10))
			r, took := c.wait(t), time.Since(start)
			if !errors.Is(r.Err, errUpload) || took != lastWords {
				t.Errorf("Streams = %+v after %v, want error %v after %v", r, took, errUpload, lastWords)
			}
			wantReset(t, "application", c.app)
			if err := <-flooded; !isReset(err) {
				t.Errorf("target's write = %v, want a reset", err)
			}
		})
	})
}

// A target that ended its half before the upload broke has said everything.
func TestStreamsUploadBreaksAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, far := transporttest.Pipe()
		c := converseWith(t.Context(), t, pipePair, brokenWriter{target, errUpload})
		sendHalf(t, far, c.app, payload(1000))
		start := time.Now()
		mustWrite(t, c.app, payload(10))
		if r := c.wait(t); !errors.Is(r.Err, errUpload) || time.Since(start) != 0 {
			t.Errorf("Streams = %+v after %v, want error %v at once", r, time.Since(start), errUpload)
		}
		if _, err := c.app.Write(payload(10)); !isReset(err) {
			t.Errorf("application's write = %v, want a reset", err)
		}
	})
}

var errCut = errors.New("cut by the test")

func TestStreamsContextResetsBoth(t *testing.T) {
	flood := func(w io.Writer) { _, _ = w.Write(make([]byte, 64<<20)) }
	rows := []struct {
		name  string
		begin func(c *conversation) // makes the flow busy
	}{
		{"idle", func(*conversation) {}},
		{"uploading", func(c *conversation) { go flood(c.app) }},
		{"downloading", func(c *conversation) { go flood(c.far) }},
		{"stuck both ways", func(c *conversation) { go flood(c.app); go flood(c.far) }},
		{"client's half ended", func(c *conversation) { _ = c.app.CloseWrite() }},
		{"target's half ended", func(c *conversation) { _ = c.far.CloseWrite() }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				c := converse(ctx, t, pipePair, Limits{})
				row.begin(c)
				synctest.Wait()
				cancel(errCut)
				if r := c.wait(t); !errors.Is(r.Err, errCut) {
					t.Errorf("Streams = %+v, want error %v", r, errCut)
				}
				wantReset(t, "application", c.app)
				wantReset(t, "target", c.far)
			})
		})
	}
}

func TestStreamsContextResetsTCP(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	c := converse(ctx, t, tcpPair, Limits{})
	mustWrite(t, c.app, payload(10))
	mustRead(t, c.far, 10)
	cancel(errCut)
	wantReset(t, "application", c.app)
	wantReset(t, "target", c.far)
	if r := c.wait(t); !errors.Is(r.Err, errCut) || r.Sent != 10 {
		t.Errorf("Streams = %+v, want Sent 10 and error %v", r, errCut)
	}
}

func TestStreamsContextDoneBefore(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCut)
	c := converse(ctx, t, tcpPair, Limits{})
	if r := c.wait(t); !errors.Is(r.Err, errCut) {
		t.Errorf("Streams = %+v, want error %v", r, errCut)
	}
	wantReset(t, "application", c.app)
	wantReset(t, "target", c.far)
}

// slowAbort is a pipe whose first Abort takes its time after it did its work.
type slowAbort struct {
	*transporttest.PipeConn
	begun, ended atomic.Int32
}

func (s *slowAbort) Abort() error {
	defer s.ended.Add(1)
	err := s.PipeConn.Abort()
	if s.begun.Add(1) == 1 {
		<-time.After(time.Second)
	}
	return err
}

// Nothing of a flow runs any more when Streams returns, whatever ended it.
func TestStreamsWaitsForItsEnd(t *testing.T) {
	rows := []struct {
		name   string
		limits Limits
		end    func(cancel func())
		want   error
	}{
		{"context", Limits{}, func(cancel func()) { cancel() }, context.Canceled},
		{"silence", Limits{Idle: time.Minute}, func(func()) {}, os.ErrDeadlineExceeded},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				pipe, _ := transporttest.Pipe()
				_, client := transporttest.Pipe()
				target := &slowAbort{PipeConn: pipe}
				row.end(cancel)
				r := Streams(ctx, client, target, row.limits)
				if !errors.Is(r.Err, row.want) {
					t.Errorf("Streams = %+v, want error %v", r, row.want)
				}
				if begun, ended := target.begun.Load(), target.ended.Load(); begun != ended {
					t.Errorf("%d of %d calls of Abort run on after Streams returned", begun-ended, begun)
				}
			})
		})
	}
}

// A clean flow is closed and not aborted, and each side once.
func TestStreamsClosesBoth(t *testing.T) {
	app, client := transporttest.Pipe()
	target, far := transporttest.Pipe()
	a, b := &counted{StreamConn: client}, &counted{StreamConn: target}
	_, _ = app.CloseWrite(), far.CloseWrite()
	if r := Streams(t.Context(), a, b, Limits{}); r != (Result{}) {
		t.Errorf("Streams = %+v, want the zero Result", r)
	}
	for name, c := range map[string]*counted{"client": a, "target": b} {
		if c.closes != 1 || c.aborts != 0 {
			t.Errorf("%s: %d calls of Close and %d of Abort, want 1 and 0", name, c.closes, c.aborts)
		}
	}
}
