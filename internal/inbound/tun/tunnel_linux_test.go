//go:build !unit

package tun

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// both are addresses that exist nowhere: the tunnel takes all.
var both = map[string]string{"IPv4": "203.0.113.7", "IPv6": "2001:db8::7"}

// random returns n bytes that look random and are the same every time.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b) // never fails
	return b
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// exchange sends more through an echo than all buffers hold, ends its half, and wants it all back.
func exchange(t *testing.T, c *net.TCPConn) {
	t.Helper()
	want := random(4 << 20)
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := c.Write(want); err != nil {
			t.Error(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(c)
	sending.Wait()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("echo of %d bytes = %d bytes, %v, want the same and EOF", len(want), len(got), err)
	}
}

func TestStreamsThroughDevice(t *testing.T) {
	n := newNamespace(t)
	d := n.open(t)
	if !d.Created() || d.Name() != "owtest0" || d.MTU() != 1500 || d.Index() == 0 || d.offload != offloadTCP {
		t.Errorf("device = %+v", d)
	}
	s := &Server{Settings: Settings{Stream: toLoopback{}}}
	serve(t, s, d)
	port := listen(t, echo)
	for name, host := range both {
		t.Run(name, func(t *testing.T) { exchange(t, n.mustDial(t, net.JoinHostPort(host, port))) })
	}
	got := s.Counters.Snapshot()
	t.Logf("%+v", got)
	const each = 2 * 4 << 20
	if got.BytesOut < each || got.BytesIn < each || got.PacketsOut > each/1500 || got.PacketsIn > each/1500 {
		t.Errorf("%d packets out, %d in for %d bytes each way, want super-segments",
			got.PacketsOut, got.PacketsIn, each)
	}
}

func TestRefusedTargetRefuses(t *testing.T) {
	n := newNamespace(t)
	s := &Server{Settings: Settings{Stream: toLoopback{}}}
	serve(t, s, n.open(t))
	for name, host := range both {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := n.dial(t.Context(), net.JoinHostPort(host, "1"))
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial = %v, want %v", err, syscall.ECONNREFUSED)
			}
			t.Logf("refused after %v", time.Since(began))
		})
	}
}

// A reset is one, in both directions.
func TestResetsThroughDevice(t *testing.T) {
	n := newNamespace(t)
	serve(t, &Server{Settings: Settings{Stream: toLoopback{}}}, n.open(t))
	seen := make(chan error, 1)
	port := listen(t, func(c *net.TCPConn) {
		var b [1]byte
		_, _ = c.Read(b[:])
		if b[0] == 'r' {
			_ = transport.Abort(c)
			return
		}
		_, _ = c.Write(b[:])
		_, err := c.Read(b[:])
		seen <- err
	})
	for name, host := range both {
		t.Run(name, func(t *testing.T) {
			c := n.mustDial(t, net.JoinHostPort(host, port))
			_, _ = c.Write([]byte("r"))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read behind the target's reset = %v, want %v", err, syscall.ECONNRESET)
			}
			c = n.mustDial(t, net.JoinHostPort(host, port))
			// A client that resets while it is being accepted would only have to do with the stack.
			_, _ = c.Write([]byte("x"))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
			_ = transport.Abort(c)
			if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read behind the application's reset = %v, want %v", err, syscall.ECONNRESET)
			}
		})
	}
}

// What was sent to an application arrives, although the server stops.
func TestShutdownDeliversTheRest(t *testing.T) {
	n := newNamespace(t)
	s := &Server{Settings: Settings{Stream: toLoopback{}}}
	stop := serve(t, s, n.open(t))
	want := random(600 << 10)
	port := listen(t, func(c *net.TCPConn) { _, _ = c.Write(want) })
	c := n.mustDial(t, "203.0.113.7:"+port)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v, want %d and EOF", len(got), err, len(want))
	}
	<-stopped
}

// inUse is the memory of goroutines' stacks and the heap.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // the first empties the pools, the second frees what they held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func TestThousandHeldFlows(t *testing.T) {
	// Tunbench holds the tunnel alone to 40 KiB. Here both ends of each flow count, and the race detector.
	const flows, maxEach = 1000, 64 << 10
	n := newNamespace(t)
	s := &Server{Settings: Settings{Stream: toLoopback{}}}
	serve(t, s, n.open(t))
	port := listen(t, echo)
	exchange(t, n.mustDial(t, "203.0.113.7:"+port)) // fills what is allocated once
	before := inUse()
	conns := make([]*net.TCPConn, flows)
	var opening sync.WaitGroup
	const atOnce = 50
	for i := range atOnce {
		opening.Go(func() {
			for j := i; j < flows; j += atOnce {
				c, err := n.dial(t.Context(), "203.0.113.7:"+port)
				if err != nil {
					t.Errorf("flow %d: %v", j, err)
					return
				}
				conns[j] = c
				b := []byte("hello")
				if _, err := c.Write(b); err != nil {
					t.Errorf("flow %d: %v", j, err)
				}
				if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
					t.Errorf("flow %d: echo = %q, %v", j, b, err)
				}
			}
		})
	}
	opening.Wait()
	each := (inUse() - before) / flows
	t.Logf("%.1f KiB for a held flow, both ends of it in this process included", float64(each)/1024)
	if each > maxEach {
		t.Errorf("%d bytes for a held flow, want at most %d", each, maxEach)
	}
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}
