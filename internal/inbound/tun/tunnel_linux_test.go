//go:build !unit

package tun

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
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

func TestStreamsThroughDevice(t *testing.T) {
	n := newNamespace(t)
	d := n.open(t)
	if !d.Created() || d.Name() != "owtest0" || d.MTU() != 1500 || d.Index() == 0 {
		t.Errorf("device = %v, %q, index %d, MTU %d", d.Created(), d.Name(), d.Index(), d.MTU())
	}
	s := &Server{Settings: Settings{Stream: toLoopback{}}}
	serve(t, s, d)
	port := listen(t, echo)
	for name, host := range both {
		t.Run(name, func(t *testing.T) {
			c := n.mustDial(t, net.JoinHostPort(host, port))
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
		})
	}
	t.Logf("%+v, offload %d", s.Counters.Snapshot(), d.offload)
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
