//go:build linux && !unit

package tun

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// namespace is a network namespace that ends with the test.
type namespace struct{ path string }

// newNamespace skips the test where namespaces and devices cannot be made.
func newNamespace(tb testing.TB) namespace {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("needs root, for a network namespace and a TUN device")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		tb.Skip("needs ip of iproute2")
	}
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{err: err}
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		made <- result{file, err}
	}()
	r := <-made
	if r.err != nil {
		tb.Skipf("needs a network namespace: %v", r.err)
	}
	tb.Cleanup(func() { _ = r.file.Close() })
	n := namespace{path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.file.Fd())}
	n.ip(tb, "link set lo up")
	return n
}

// do runs f on a thread of the namespace.
func (n namespace) do(tb testing.TB, f func() error) {
	tb.Helper()
	if err := inNamespace(n.path, f); err != nil {
		tb.Fatal(err)
	}
}

// ip runs a command of iproute2 in the namespace.
func (n namespace) ip(tb testing.TB, args string) {
	tb.Helper()
	n.do(tb, func() error {
		out, err := exec.CommandContext(tb.Context(), "ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
		return nil
	})
}

// dial opens a connection from the namespace.
func (n namespace) dial(ctx context.Context, addr string) (*net.TCPConn, error) {
	var c net.Conn
	err := inNamespace(n.path, func() (err error) {
		c, err = (&net.Dialer{Timeout: 20 * time.Second}).DialContext(ctx, "tcp", addr)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func (n namespace) mustDial(tb testing.TB, addr string) *net.TCPConn {
	tb.Helper()
	c, err := n.dial(tb.Context(), addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		tb.Fatal(err)
	}
	return c
}

// open makes a device there that is the way to everywhere.
func (n namespace) open(tb testing.TB) *Device {
	tb.Helper()
	d, err := Open(DeviceOptions{Name: "owtest0", NetNS: n.path})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close() })
	n.routeThrough(tb, d.Name())
	return d
}

func (n namespace) routeThrough(tb testing.TB, device string) {
	tb.Helper()
	n.ip(tb, "addr add 172.19.0.1/30 dev "+device)
	n.ip(tb, "route add default dev "+device)
	n.ip(tb, "-6 addr add fd00:77::1/126 dev "+device+" nodad")
	n.ip(tb, "-6 route add default dev "+device)
}

// toLoopback dials the port that a flow wants on this host's loopback.
type toLoopback struct{}

func (toLoopback) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// serve runs a server on d until stop is called or the test ends.
func serve(tb testing.TB, s *Server, d *Device) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(ctx, d); err != nil {
			tb.Errorf("Serve() = %v, want nil", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		soon, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(soon); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			tb.Errorf("Shutdown() = %v", err)
		}
		serving.Wait()
	})
	tb.Cleanup(stop)
	return stop
}

// listen serves every connection to a port of this host with handle.
func listen(tb testing.TB, handle func(*net.TCPConn)) (port string) {
	tb.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
