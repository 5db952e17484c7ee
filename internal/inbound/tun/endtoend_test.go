//go:build linux && !unit

package tun

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// dialled hands out the near end of a new TCP connection for every dial, and the far end to the test.
type dialled struct {
	t   *testing.T
	far chan *net.TCPConn
}

func newDialled(t *testing.T) dialled {
	return dialled{t, make(chan *net.TCPConn, 16)}
}

func (d dialled) DialStream(context.Context, string) (transport.StreamConn, error) {
	near, far := transporttest.TCPPair(d.t)
	d.far <- far
	return near, nil
}

// through returns both ends of a flow through a server.
func through(t *testing.T, how offload, to string) (app *conn, far *net.TCPConn) {
	t.Helper()
	device, p := wired(t, how)
	target := newDialled(t)
	serve(t, &Server{Settings: Settings{Stream: target}}, device)
	app = p.mustDial(t, targets[to])
	return app, <-target.far
}

func TestFlowBothWaysAtOnce(t *testing.T) {
	for name, how := range offloads {
		for family := range targets {
			t.Run(name+" "+family, func(t *testing.T) {
				app, far := through(t, how, family)
				want := random(1 << 20)
				var moving sync.WaitGroup
				for _, c := range []transport.StreamConn{app, far} {
					moving.Go(func() {
						if _, err := c.Write(want); err != nil {
							t.Errorf("write: %v", err)
						}
						if err := c.CloseWrite(); err != nil {
							t.Errorf("close write: %v", err)
						}
					})
					moving.Go(func() {
						got, err := io.ReadAll(c)
						if err != nil || !bytes.Equal(got, want) {
							t.Errorf("read %d bytes, %v, want all %d and EOF", len(got), err, len(want))
						}
					})
				}
				moving.Wait()
			})
		}
	}
}

func TestHalfClosePasses(t *testing.T) {
	for name, fromApp := range map[string]bool{"from the application": true, "from the target": false} {
		t.Run(name, func(t *testing.T) {
			app, target := through(t, offloadTCP, "IPv4")
			first, second := transport.StreamConn(app), transport.StreamConn(target)
			if !fromApp {
				first, second = second, first
			}
			if err := first.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(second); err != nil || len(got) > 0 {
				t.Fatalf("read %q, %v, want EOF", got, err)
			}
			// The other half goes on.
			if _, err := second.Write([]byte("late")); err != nil {
				t.Fatal(err)
			}
			if err := second.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(first); err != nil || string(got) != "late" {
				t.Errorf("read %q, %v, want %q and EOF", got, err, "late")
			}
		})
	}
}

func TestResetPasses(t *testing.T) {
	for name, fromApp := range map[string]bool{"from the application": true, "from the target": false} {
		t.Run(name, func(t *testing.T) {
			app, target := through(t, offloadTCP, "IPv6")
			first, second := transport.StreamConn(app), transport.StreamConn(target)
			if !fromApp {
				first, second = second, first
			}
			if err := transport.Abort(first); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(second); !errors.Is(err, syscall.ECONNRESET) || len(got) > 0 {
				t.Errorf("read %q, %v, want %v", got, err, syscall.ECONNRESET)
			}
		})
	}
}

func TestRefusalIsAReset(t *testing.T) {
	device, p := wired(t, offloadTCP)
	s := new(Server)
	s.Stream = dialFunc(func(context.Context, string) (transport.StreamConn, error) {
		return nil, syscall.EHOSTUNREACH
	})
	serve(t, s, device)
	for family, to := range targets {
		if c, err := p.dial(t.Context(), to); err == nil {
			_ = c.Close()
			t.Errorf("%s: dial succeeded, want a refusal", family)
		}
	}
}

// A flow among many gets smaller buffers, and works as well.
func TestSmallWindow(t *testing.T) {
	open := accepting(t, offloadTCP)
	served, client := open(t)
	c := served.(*conn)
	bound(c.ep, minWindow)
	if got := c.ep.SocketOptions().GetReceiveBufferSize(); got != minWindow {
		t.Errorf("receive buffer = %d, want %d", got, minWindow)
	}
	want := random(1 << 20)
	var sending sync.WaitGroup
	sending.Go(func() {
		_, _ = client.Write(want)
		_ = client.CloseWrite()
	})
	got, err := io.ReadAll(served)
	sending.Wait()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v, want %d and EOF", len(got), err, len(want))
	}
}

func TestConnKnowsThatItsPeerIsGone(t *testing.T) {
	open := accepting(t, offloadTCP)
	served, client := open(t)
	c := served.(*conn)
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(served); err != nil || c.Gone() {
		t.Errorf("after the peer's half-close: read %v, gone %v, want EOF and false", err, c.Gone())
	}
	select {
	case <-c.writable: // what came before
	default:
	}
	_ = transport.Abort(client)
	<-c.writable // the reset
	if !c.Gone() {
		t.Error("Gone() after the peer's reset = false, want true")
	}
	// This is what Linux says to a writer whose peer half-closed before.
	if _, err := served.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after the peer's reset: %v, want %v", err, syscall.EPIPE)
	}
}

// A segment whose checksum is wrong, and a packet that is none, go no further.
func TestWhatIsWrongIsDropped(t *testing.T) {
	device, p := wired(t, offloadTCP)
	s := &Server{Settings: Settings{Stream: newDialled(t)}}
	serve(t, s, device)
	syn := ipv4Packet(protocolTCP, 20)
	copy(syn[ipv4Min:], []byte{0x9c, 0x40, 1, 187, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff})
	link := p.link
	for _, packet := range [][]byte{syn, {0x45}, nil, random(100)} {
		if err := link.writePacket(packet); err != nil {
			t.Fatal(err)
		}
	}
	// What comes after them is served.
	_ = p.mustDial(t, targets["IPv4"])
	if got := s.Counters.Snapshot().Drops["malformed"]; got != 4 {
		t.Errorf("malformed packets dropped = %d, want 4", got)
	}
}

func TestTooManyDialsDropSYNs(t *testing.T) {
	device, p := wired(t, offloadTCP)
	target := newDialled(t)
	s := &Server{MaxDials: 1, Settings: Settings{Stream: target}}
	serve(t, s, device)
	mark := p.mustDial(t, targets["IPv4"])
	far := <-target.far
	pass := func() {
		t.Helper()
		if _, err := mark.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	pass() // which only a flow does that is being opened no more

	dialling, release := make(chan struct{}), make(chan struct{})
	s.Update(Settings{Stream: dialFunc(func(ctx context.Context, addr string) (transport.StreamConn, error) {
		dialling <- struct{}{}
		<-release
		return target.DialStream(ctx, addr)
	})})
	first, err := p.connect(targets["IPv4"])
	if err != nil {
		t.Fatal(err)
	}
	<-dialling
	second, err := p.connect(targets["IPv4"])
	if err != nil {
		t.Fatal(err)
	}
	// Packets are taken in order: once this byte has arrived, the SYN before it has been looked at.
	pass()
	if got := s.Counters.Snapshot().Drops["in_flight"]; got != 1 {
		t.Errorf("SYNs dropped = %d, want 1", got)
	}
	close(release)
	if _, err := first.wait(t.Context()); err != nil {
		t.Errorf("first dial: %v", err)
	}
	<-dialling // the second one's SYN, sent again
	if _, err := second.wait(t.Context()); err != nil {
		t.Errorf("second dial: %v", err)
	}
}
