//go:build linux && !unit

package tun

import (
	"context"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A host that has sent a SYN and never answers again does not keep a server that is to stop.
func TestShutdownCutsHandshakes(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := wire(t, fds[0]), wire(t, fds[1])
	target := newDialled(t)
	s := &Server{Settings: Settings{Stream: target}}
	served := make(chan error, 1)
	d := &Device{port: near, offload: offloadTCP, name: "pair", mtu: defaultMTU}
	go func() { served <- s.Serve(t.Context(), d) }()

	syn := ipv4Packet(protocolTCP, 20)
	copy(syn[12:], []byte{172, 19, 0, 1, 203, 0, 113, 7})
	copy(syn[ipv4Min:], []byte{0x9c, 0x40, 1, 187, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff})
	f := far.frame(virtioHeader{flags: virtioChecked})
	f.parts = append(f.parts, syn)
	if err := far.send(f); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxPacket)
	_, n, err := far.read(buf)
	const synAck = 0x12
	if err != nil || n < 40 || buf[ipv4Min+13] != synAck {
		t.Fatalf("answer = %x, %v, want SYN-ACK", buf[:n], err)
	}

	now, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := s.Shutdown(now); err == nil {
		t.Error("Shutdown() = nil, want one flow cut")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Shutdown() took %v", took)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve() = %v, want nil", err)
	}
	if _, err := io.ReadAll(<-target.far); err == nil {
		t.Error("the target reads a clean end, want a reset")
	}
}
