package outlinetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// PageText is in the page that StartHTTP serves at "/".
	PageText = "It works: this page came through the tunnel."

	udpMax       = 64 << 10
	uploadsKept  = 1024
	headerWait   = 10 * time.Second
	patternBlock = 64 << 10
)

// Target is a running server for flows to talk to.
type Target struct {
	addr    string
	close   func() error
	running sync.WaitGroup
	uploads chan Upload

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// Upload is what a client sent to a target until the end of its half.
type Upload struct {
	Size   int64
	SHA256 string // hexadecimal
	Err    error  // nil for a clean end
}

// Addr is the target's "host:port".
func (t *Target) Addr() string { return t.addr }

// Close ends all connections and waits for all goroutines.
func (t *Target) Close() error {
	t.mu.Lock()
	t.closed = true
	conns := slices.Collect(maps.Keys(t.conns))
	t.mu.Unlock()
	err := t.close()
	for _, c := range conns {
		_ = c.Close()
	}
	t.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Upload waits for the next upload that ended, of a sink or a greeter.
func (t *Target) Upload(ctx context.Context) (Upload, error) {
	select {
	case u := <-t.uploads:
		return u, nil
	case <-ctx.Done():
		return Upload{}, ctx.Err()
	}
}

// StartEcho sends back what comes and ends its half after the client's. addr is "127.0.0.1:0" if empty, here
// and below.
func StartEcho(addr string) (*Target, error) {
	return startTCP(addr, func(_ *Target, c *net.TCPConn) {
		_, err := io.Copy(c, c)
		_ = endHalf(c, err)
	})
}

// StartSink reads until the client ends its half and answers n bytes of the pattern after that.
func StartSink(addr string, n int64) (*Target, error) {
	return startTCP(addr, func(t *Target, c *net.TCPConn) {
		if err := t.receive(c); err != nil {
			return
		}
		_, err := io.Copy(c, Pattern(n))
		_ = endHalf(c, err)
	})
}

// StartGreeter sends n bytes of the pattern, ends its half, and then reads until the client ends its own.
func StartGreeter(addr string, n int64) (*Target, error) {
	return startTCP(addr, func(t *Target, c *net.TCPConn) {
		_, err := io.Copy(c, Pattern(n))
		if endHalf(c, err) == nil {
			_ = t.receive(c)
		}
	})
}

// StartBroken waits for the client's first byte, sends n bytes of the pattern and resets the connection.
func StartBroken(addr string, n int64) (*Target, error) {
	return startTCP(addr, func(_ *Target, c *net.TCPConn) {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			_, _ = io.Copy(c, Pattern(n))
		}
		_ = c.SetLinger(0)
	})
}

// endHalf ends our half after a copy that went well, and resets otherwise.
func endHalf(c *net.TCPConn, err error) error {
	if err != nil {
		_ = c.SetLinger(0)
		return err
	}
	return c.CloseWrite()
}

// receive reads to the end and records it.
func (t *Target) receive(r io.Reader) error {
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	select {
	case t.uploads <- Upload{Size: n, SHA256: hex.EncodeToString(sum.Sum(nil)), Err: err}:
	default: // nobody asks for them
	}
	return err
}

// startTCP runs handle for every connection and closes it after.
func startTCP(addr string, handle func(*Target, *net.TCPConn)) (*Target, error) {
	l, err := listenTCP(addr)
	if err != nil {
		return nil, err
	}
	t := &Target{
		addr:    l.Addr().String(),
		close:   l.Close,
		uploads: make(chan Upload, uploadsKept),
		conns:   make(map[net.Conn]struct{}),
	}
	t.running.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				<-time.After(acceptPause)
				continue
			}
			t.running.Go(func() {
				defer t.forget(c)
				if t.keep(c) {
					handle(t, c.(*net.TCPConn))
				}
			})
		}
	})
	return t, nil
}

func (t *Target) keep(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns[c] = struct{}{}
	return !t.closed
}

func (t *Target) forget(c net.Conn) {
	_ = c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
}

// StartHTTP serves a page with PageText at /, N bytes of the pattern at /bytes/N, and the hexadecimal
// SHA-256 of a POST's body at /sha256.
func StartHTTP(addr string) (*Target, error) {
	l, err := listenTCP(addr)
	if err != nil {
		return nil, err
	}
	t := &Target{addr: l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "<!doctype html><title>outline-cli-ws</title><p>%s</p>\n", PageText)
	})
	mux.HandleFunc("GET /bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
		if err != nil || n < 0 {
			http.Error(w, "not a size", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.Copy(w, Pattern(n))
	})
	mux.HandleFunc("POST /sha256", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		if _, err := io.Copy(sum, r.Body); err == nil {
			_, _ = fmt.Fprintf(w, "%x\n", sum.Sum(nil))
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerWait, ConnState: t.watch}
	t.close = server.Close
	t.running.Go(func() { _ = server.Serve(l) })
	return t, nil
}

// watch counts the connections of an http.Server, whose Close does not wait for them.
func (t *Target) watch(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		t.running.Add(1)
	case http.StateClosed, http.StateHijacked:
		t.running.Done()
	default:
	}
}

// StartUDPEcho sends every datagram back.
func StartUDPEcho(addr string) (*Target, error) {
	return startUDP(addr, func(datagram []byte) []byte { return datagram })
}

// startUDP answers each datagram with what reply makes of it, unless that is nil.
func startUDP(addr string, reply func([]byte) []byte) (*Target, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	t := &Target{addr: p.LocalAddr().String(), close: p.Close}
	t.running.Go(func() {
		buf := make([]byte, udpMax)
		for {
			n, from, err := p.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if answer := reply(buf[:n]); err == nil && answer != nil {
				_, _ = p.WriteTo(answer, from)
			}
		}
	})
	return t, nil
}

func listenTCP(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	return net.Listen("tcp", addr)
}

// Pattern is n bytes, the same every time and with no short period.
func Pattern(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{'p', 'a', 't', 't', 'e', 'r', 'n'}), n)
}

// PatternSHA256 is the hexadecimal SHA-256 of Pattern(n).
func PatternSHA256(n int64) string {
	sum := sha256.New()
	_, _ = io.CopyBuffer(sum, Pattern(n), make([]byte, patternBlock))
	return hex.EncodeToString(sum.Sum(nil))
}
