package status

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in a bubble of synctest.
type pipes struct {
	coming chan net.Conn
	once   sync.Once
	closed chan struct{}
	err    error // of Accept, when there is one
}

func newPipes() *pipes { return &pipes{coming: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	if p.err != nil {
		return nil, p.err
	}
	select {
	case c := <-p.coming:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.coming <- server
	return client
}

// serving runs Serve in a bubble; what it returns comes from ended.
func serving(t *testing.T, h http.HandlerFunc) (p *pipes, stop func(), ended chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p, ended = newPipes(), make(chan error, 1)
	go func() { ended <- Serve(ctx, p, h) }()
	return p, cancel, ended
}

func hello(w http.ResponseWriter, _ *http.Request) { writeText(w, 200, "hello\n") }

const plainGet = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

func TestClientsThatAreSlow(t *testing.T) {
	for _, tt := range []struct {
		name, sends string
		after       time.Duration
	}{
		{"no request", "", headerTime},
		{"no end of the header", "GET / HTTP/1.1\r\nHost: localhost\r\n", headerTime},
		{"nothing more", plainGet, idleTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, stop, ended := serving(t, hello)
				c := p.dial()
				began := time.Now()
				go io.WriteString(c, tt.sends)
				if _, err := io.ReadAll(c); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != tt.after {
					t.Errorf("sent away after %s, want %s", took, tt.after)
				}
				c.Close()
				stop()
				if err := <-ended; err != nil {
					t.Errorf("Serve = %v", err)
				}
			})
		})
	}
}

// TestProbesGetThrough has clients that do nothing take all connections. A probe of the service that is not
// answered within 5 s has it started again.
func TestProbesGetThrough(t *testing.T) {
	const unread = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
	for name, sends := range map[string]string{"silent": "", "idle": plainGet, "no body": unread} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, stop, ended := serving(t, hello)
				for range maxConns {
					c := p.dial()
					go io.WriteString(c, sends)
					go io.Copy(io.Discard, c)
				}
				synctest.Wait()
				began := time.Now()
				c := p.dial()
				go io.WriteString(c, plainGet)
				if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took >= 5*time.Second {
					t.Errorf("answered after %s, want less than 5 s", took)
				}
				c.Close()
				stop()
				<-ended
			})
		})
	}
}

func TestHugeHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop, ended := serving(t, hello)
		c := p.dial()
		go fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 64<<10))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%v, %v", resp, err)
		}
		c.Close()
		stop()
		<-ended
	})
}

// TestConnectionsAreBounded has one client more than there is room for wait, and get its turn.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop, ended := serving(t, hello)
		conns := make([]net.Conn, maxConns)
		for i := range conns {
			conns[i] = p.dial()
		}
		got := make(chan error, 1)
		go func() {
			c := p.dial()
			defer c.Close()
			go io.WriteString(c, plainGet)
			_, err := http.ReadResponse(bufio.NewReader(c), nil)
			got <- err
		}()
		synctest.Wait()
		if len(got) > 0 {
			t.Error("one more than there is room for was served")
		}
		conns[0].Close()
		if err := <-got; err != nil {
			t.Error(err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

// TestEnd lets a request that is being answered get its answer.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop, ended := serving(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			hello(w, r)
		})
		idle, busy := p.dial(), p.dial()
		io.WriteString(busy, plainGet)
		synctest.Wait()
		stop()
		answer, err := io.ReadAll(busy)
		if err != nil || !strings.Contains(string(answer), "hello") {
			t.Errorf("%q, %v", answer, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if n, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("idle connection: %d, %v", n, err)
		}
	})
}

// TestEndWaitsForHandlers has one take longer than there is time: its client is cut off, and Serve stays.
func TestEndWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := false
		p, stop, ended := serving(t, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			time.Sleep(time.Second)
			over = true
		})
		c := p.dial()
		io.WriteString(c, plainGet)
		synctest.Wait()
		began := time.Now()
		stop()
		_, err := c.Read(make([]byte, 1))
		if took := time.Since(began); !errors.Is(err, io.EOF) || took != graceTime {
			t.Errorf("cut off after %s with %v, want %s", took, err, graceTime)
		}
		if err := <-ended; err != nil || !over {
			t.Errorf("Serve = %v, handler over: %t", err, over)
		}
	})
}

func TestListenerFails(t *testing.T) {
	p := newPipes()
	p.err = errors.New("broken")
	if err := Serve(t.Context(), p, http.HandlerFunc(hello)); !errors.Is(err, p.err) {
		t.Errorf("Serve = %v, want %v", err, p.err)
	}
	select {
	case <-p.closed:
	default:
		t.Error("the listener is open")
	}
}
