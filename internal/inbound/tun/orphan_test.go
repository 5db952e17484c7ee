//go:build linux && !unit

package tun

import (
	"errors"
	"os"
	"testing"
	"time"
)

// An application may keep a connection and read nothing of it. Once its flow has ended, nobody counts what
// waits for it, and it does not wait for ever.
func TestUnreadRestIsGivenUp(t *testing.T) {
	d, p := wired(t, offloadTCP)
	serve(t, &Server{Settings: Settings{Stream: newDialled(t)}}, d) // a target that reads nothing
	c := p.mustDial(t, target4)
	c.patience = 300 * time.Millisecond
	if err := c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write to nobody = %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for len(p.stack.RegisteredEndpoints()) > 0 {
		if time.Since(began) > 10*time.Second {
			t.Fatal("what nobody reads is kept")
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Logf("given up after %v", time.Since(began))
}
