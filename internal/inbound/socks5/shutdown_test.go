package socks5

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// TestShutdownDrains: no new clients, the flow goes on to its end, the silent client is sent away.
func TestShutdownDrains(t *testing.T) {
	dialer := newTargets(t)
	r := start(t, &Server{Settings: Settings{Stream: dialer}})
	silent := r.dial()
	c := r.dial()
	c.send(helloOpen + connectName)
	c.want(acceptOpen + succeeded)
	far := dialer.want("example.com:80")
	down := make(chan error, 1)
	go func() { down <- r.Shutdown(context.Background()) }()
	r.served.Wait()
	silent.wantEnd()
	if late, err := net.Dial("tcp", r.address); err == nil {
		late.Close()
		t.Error("a new client was let in")
	}
	c.send("question")
	far.want("question")
	far.send("answer")
	far.closeWrite()
	c.want("answer")
	c.wantEnd()
	select {
	case err := <-down:
		t.Fatalf("Shutdown = %v while a flow is half open", err)
	default:
	}
	c.closeWrite()
	if err := <-down; err != nil {
		t.Errorf("Shutdown = %v, want nil", err)
	}
}

// TestShutdownLetsHandshakesEnd: a client that has begun to speak is served.
func TestShutdownLetsHandshakesEnd(t *testing.T) {
	dialer := newTargets(t)
	r := start(t, &Server{Settings: Settings{Stream: dialer}})
	c := r.dial()
	c.send(helloOpen)
	c.want(acceptOpen)
	down := make(chan error, 1)
	go func() { down <- r.Shutdown(context.Background()) }()
	r.served.Wait()
	c.send(connectName)
	c.want(succeeded)
	dialer.want("example.com:80").closeWrite()
	c.wantEnd()
	c.closeWrite()
	if err := <-down; err != nil {
		t.Errorf("Shutdown = %v, want nil", err)
	}
}

func TestShutdownCuts(t *testing.T) {
	dialing := make(chan struct{}, 1)
	dialer := newTargets(t)
	sometimes := func(ctx context.Context, addr string) (transport.StreamConn, error) {
		if addr == "1.2.3.4:80" {
			dialing <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return dialer.DialStream(ctx, addr)
	}
	r := start(t, &Server{Settings: Settings{Stream: dialFunc(sometimes)}})
	relaying := r.dial()
	relaying.send(helloOpen + connectName)
	relaying.want(acceptOpen + succeeded)
	far := dialer.want("example.com:80")
	waiting := r.dial()
	waiting.send(helloOpen + connectV4)
	waiting.want(acceptOpen)
	<-dialing
	speaking := r.dial()
	speaking.send(helloOpen)
	speaking.want(acceptOpen)

	errEnough := errors.New("ten seconds are over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnough)
	if err := r.Shutdown(ctx); !errors.Is(err, errEnough) {
		t.Errorf("Shutdown = %v, want %v", err, errEnough)
	}
	for name, c := range map[string]*wire{
		"client":               relaying,
		"target":               far.wire,
		"client while dialing": waiting,
		"client in handshake":  speaking,
	} {
		if _, err := io.ReadAll(c.Conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s reads %v, want %v", name, err, syscall.ECONNRESET)
		}
	}
	r.wantLog(`msg="flow broken"`, "target=example.com:80", errClosed.Error())
	r.wantLog(`msg="flow failed"`, "target=1.2.3.4:80", errClosed.Error())
}

// TestShutdownTwice, and before Serve, and with nothing to cut.
func TestShutdownTwice(t *testing.T) {
	r := start(t, &Server{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if err := r.Shutdown(ended); err != nil {
			t.Errorf("Shutdown without flows = %v, want nil", err)
		}
	}
	r.served.Wait()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Serve(t.Context(), l); err != nil {
		t.Errorf("Serve after Shutdown = %v, want nil", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener after Serve: %v, want %v", err, net.ErrClosed)
	}
}

// TestServeSeveral: one listener can end while the other, and the flows of both, go on.
func TestServeSeveral(t *testing.T) {
	dialer := newTargets(t)
	r := start(t, &Server{Settings: Settings{Stream: dialer}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, l) }()
	second, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := newWire(t, second)
	c.send(helloOpen + connectName)
	c.want(acceptOpen + succeeded)
	far := dialer.want("example.com:80")
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	c.send("still here")
	far.want("still here")
	other := r.dial()
	other.send(helloOpen)
	other.want(acceptOpen)
}

// TestShutdownEndsAssociations: nothing tells when an association is done, so a stop does not wait for it
// long.
func TestShutdownEndsAssociations(t *testing.T) {
	a := associate(t, &Server{}, "127.0.0.1:0", socksaddr.Addr{})
	client := a.datagrams("127.0.0.1:0")
	client.send(toExample + "question")
	a.network.want(packet{"question", "example.com:80"})
	ctx, cancel := context.WithTimeout(t.Context(), drainPause*5)
	defer cancel()
	if err := a.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v, want nil", err)
	}
	a.wantLog(`msg="flow closed"`, "proto=udp")
	a.wantSocketGone()
}
