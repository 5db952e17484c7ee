//go:build linux && !unit

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/tun"
	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Roles of child processes.
const (
	roleServer    = "server"
	roleRelay     = "relay"
	roleClient    = "client"
	roleHold      = "hold"
	roleDatagrams = "datagrams"
)

// Modes of a relay.
const (
	modeTunnel   = "tunnel"   // the full tunnel
	modePlain    = "plain"    // the same without super-segments
	modeRedirect = "redirect" // nft redirects to a listening socket
)

// Where things are. Connections to targetHost reach serverHost.
const (
	device      = "owbench0"
	machineHost = "10.77.0.1"
	serverHost  = "10.77.0.2"
	targetHost  = "198.18.0.1"
	sinkPort    = "7001" // reads all
	sourcePort  = "7002" // writes for ever
	echoPort    = "7003"
)

const chunk = 128 << 10

// ready tells the parent process to go on.
func ready() { fmt.Println("ready") }

func runServer(ctx context.Context) error {
	var serving sync.WaitGroup
	for port, handle := range map[string]func(net.Conn){
		sinkPort:   func(c net.Conn) { drain(c) },
		sourcePort: func(c net.Conn) { pour(c) },
		echoPort:   func(c net.Conn) { _, _ = io.Copy(c, c) },
	} {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(serverHost, port))
		if err != nil {
			return err
		}
		serving.Go(func() { accept(ctx, l, handle) })
	}
	serving.Go(func() {
		if err := echoDatagrams(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	ready()
	serving.Wait()
	return nil
}

// accept serves until ctx ends.
func accept(ctx context.Context, l net.Listener, handle func(net.Conn)) {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { // the process ends with the benchmark
			defer c.Close()
			handle(c)
		}()
	}
}

// drain reads until the end, whatever it is.
func drain(r io.Reader) (n int64) {
	buf := make([]byte, chunk)
	for {
		k, err := r.Read(buf)
		n += int64(k)
		if err != nil {
			return n
		}
	}
}

// pour writes until that fails.
func pour(w io.Writer) (n int64) {
	buf := make([]byte, chunk)
	for {
		k, err := w.Write(buf)
		n += int64(k)
		if err != nil {
			return n
		}
	}
}

// toServer dials the server whatever the address.
type toServer struct{}

func (toServer) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(serverHost, port))
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// runRelay relays until ctx ends. SIGUSR1 makes it give memory back.
func runRelay(ctx context.Context, mode string) error {
	free := make(chan os.Signal, 1)
	signal.Notify(free, unix.SIGUSR1)
	go func() {
		for range free {
			debug.FreeOSMemory()
		}
	}()
	if mode == modeRedirect {
		return relayRedirected(ctx)
	}
	d, err := tun.Open(tun.DeviceOptions{Name: device, Plain: mode == modePlain})
	if err != nil {
		return err
	}
	s := &tun.Server{Settings: tun.Settings{Stream: toServer{}, Packet: toServerPackets{}}}
	ready()
	err = s.Serve(ctx, d)
	now, cancel := context.WithCancel(ctx)
	cancel()
	_ = s.Shutdown(now) // which cuts what is left
	return err
}

// relayRedirected is the reference. The port that a connection was meant for is the redirect's own business,
// so there is a listening socket for each.
func relayRedirected(ctx context.Context) error {
	var serving sync.WaitGroup
	for _, port := range []string{sinkPort, sourcePort, echoPort} {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp4", net.JoinHostPort("", port))
		if err != nil {
			return err
		}
		serving.Go(func() {
			accept(ctx, l, func(c net.Conn) {
				target, err := toServer{}.DialStream(ctx, net.JoinHostPort("", port))
				if err != nil {
					return
				}
				relay.Streams(ctx, c.(*net.TCPConn), target, relay.Limits{})
			})
		})
	}
	ready()
	serving.Wait()
	return nil
}

// runClient moves bytes for a while and prints how many.
func runClient(ctx context.Context, o options) error {
	port := sinkPort
	if o.download {
		port = sourcePort
	}
	conns, err := dialTarget(ctx, port, o.streams)
	if err != nil {
		return err
	}
	var total atomic.Int64
	var moving sync.WaitGroup
	began := time.Now()
	for _, c := range conns {
		if err := c.SetDeadline(began.Add(o.duration)); err != nil {
			return err
		}
		moving.Go(func() {
			if o.download {
				total.Add(drain(c))
			} else {
				total.Add(pour(c))
			}
		})
	}
	moving.Wait()
	fmt.Println(total.Load(), time.Since(began).Nanoseconds())
	for _, c := range conns {
		_ = transport.Abort(c)
	}
	return nil
}

// runHold opens flows, uses each once, and holds them until the parent has seen enough.
func runHold(ctx context.Context, o options) error {
	conns, err := dialTarget(ctx, echoPort, o.flows)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<10)
	for _, c := range conns {
		if _, err := c.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
	}
	ready()
	_, _ = os.Stdin.Read(buf) // the parent closes it
	return nil
}

func dialTarget(ctx context.Context, port string, n int) ([]*net.TCPConn, error) {
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(targetHost, port))
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return nil, errors.New("no TCP")
		}
		conns[i] = tcp
	}
	return conns, nil
}
