package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// TestThousandFlows holds a thousand flows open at once and then looks for what they left behind.
func TestThousandFlows(t *testing.T) {
	const flows = 1000
	s := startServer(t, outlinetest.Config{})
	c := startClient(t, "127.0.0.1:0", "upstreams:\n"+entry(t, s))
	target, err := outlinetest.StartEcho("")
	echo := startTarget(t, target, err)
	one := func(i int) *net.TCPConn {
		conn := connect(t, c, echo.Addr())
		ask(t, conn, fmt.Sprint("flow ", i))
		return conn
	}
	one(0).Close() // whatever is made once is made now
	idle(t, s)
	waitFor(t, "all of Run's loops", func() bool { return c.app.balancer.Rounds() > 1 }) // it listens before
	goroutines, files := runtime.NumGoroutine(), openFiles(t)

	conns := make([]*net.TCPConn, flows)
	var opening sync.WaitGroup
	slots := make(chan struct{}, 50)
	for i := range conns {
		slots <- struct{}{}
		opening.Go(func() {
			defer func() { <-slots }()
			conns[i] = one(i)
		})
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	for i, conn := range conns {
		ask(t, conn, fmt.Sprint("again ", i))
	}
	for _, conn := range conns {
		conn.Close()
	}
	idle(t, s)
	settle(t, "goroutines", runtime.NumGoroutine, goroutines)
	settle(t, "open files", func() int { return openFiles(t) }, files)
}

// ask sends a line and wants it back.
func ask(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Error(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Errorf("echo = %q, %v, want %q", got, err, text)
	}
}

// idle waits until the server has no connection any more.
func idle(t *testing.T, s *outlinetest.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Wait(ctx, func(st outlinetest.Stats) bool { return st.Open == 0 }); err != nil {
		t.Fatalf("%d connections stay open at the server", s.Stats().Open)
	}
}

// settle waits until a count is back to where it was.
func settle(t *testing.T, what string, count func() int, want int) {
	t.Helper()
	const slack = 3 // the runtime's own, and a timer's goroutine
	deadline := time.Now().Add(patience)
	for count() > want+slack {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d, want the %d of before", what, count(), want)
		}
		runtime.Gosched()
	}
}

// openFiles counts this process's file descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // no such place on this system
	}
	return len(entries)
}

// TestStopLetsFlowsFinish shows that a flow under way ends by itself after the program was told to stop.
func TestStopLetsFlowsFinish(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	c := startClient(t, "127.0.0.1:0", "upstreams:\n"+entry(t, s))
	target, err := outlinetest.StartEcho("")
	conn := connect(t, c, startTarget(t, target, err).Addr())
	ask(t, conn, "before")
	stopped := make(chan error, 1)
	go func() { stopped <- c.stop() }()
	c.log.wait(t, "stopping")
	if late, err := net.Dial("tcp", c.addr); err == nil {
		late.SetReadDeadline(time.Now().Add(patience))
		if _, err := late.Read(make([]byte, 1)); err == nil {
			t.Error("a new client was served while stopping")
		}
		late.Close()
	}
	ask(t, conn, "after")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("end of the flow = %q, %v, want a clean end", rest, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
