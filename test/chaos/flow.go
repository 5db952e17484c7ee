package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

const (
	answerTime  = 20 * time.Second // for the first byte of an answer; the client gives up after 15 s
	silenceTime = 10 * time.Second // within an answer

	smallest, largest = 16 << 10, 48 << 10 // downloads
)

// kind is what a flow does.
type kind string

// The kinds.
const (
	tlsFlow      kind = "TLS"
	getFlow      kind = "GET"
	downloadFlow kind = "download"
	postFlow     kind = "POST"
)

var kinds = []kind{tlsFlow, getFlow, downloadFlow, postFlow}

// fate is what became of a flow.
type fate uint8

const (
	whole     fate = iota
	failed         // visibly
	truncated      // it ended like a whole one, and was not
)

// flow is one that has ended.
type flow struct {
	kind     kind
	began    time.Duration // since the run began
	last     time.Duration // until the last byte of it, or until it failed without one
	answered bool
	delay    time.Duration // until the first byte of the answer
	fate     fate
	err      error
}

// replayable reports whether the flow may be sent over another upstream.
func (f flow) replayable() bool { return f.kind != postFlow }

// decided is when it was clear what the upstreams did for it: when the first byte of an answer came or, if
// that did not become whole, when there should have been more.
func (f flow) decided() time.Duration {
	if f.fate == whole {
		return f.began + f.delay
	}
	return f.began + f.last + 2*downloadPause
}

// errTruncated is what a flow met whose answer ended cleanly and too soon.
var errTruncated = errors.New("a clean end of half an answer")

// driver makes flows through the client.
type driver struct {
	proxy   string
	targets *targets
}

// run makes one flow, and holds its connection for a while if it went well.
func (d driver) run(ctx context.Context, k kind, id string, hold time.Duration) flow {
	began := time.Now()
	f := flow{kind: k}
	conn, err := d.open(k)
	if err != nil {
		f.last, f.fate, f.err = time.Since(began), failed, err
		return f
	}
	defer conn.Close()
	err = d.talk(conn, k, id)
	f.last, f.fate, f.err = time.Since(began), judge(err), err
	if !conn.first.IsZero() {
		f.answered, f.delay, f.last = true, conn.first.Sub(began), conn.last.Sub(began)
	}
	if err == nil {
		select {
		case <-time.After(hold - time.Since(began)):
		case <-ctx.Done():
		}
	}
	return f
}

// judge tells a visible failure from one that looks like an end.
func judge(err error) fate {
	switch {
	case err == nil:
		return whole
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errTruncated):
		return truncated
	}
	return failed
}

func (d driver) open(k kind) (*answerConn, error) {
	target := d.targets.web.addr
	if k == tlsFlow {
		target = d.targets.tls.Addr()
	}
	conn, err := net.DialTimeout("tcp", d.proxy, answerTime)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	if _, err := ask(conn, connect, target); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("CONNECT: %w", err)
	}
	return &answerConn{Conn: conn}, nil
}

// The commands of SOCKS5 (RFC 1928, section 4).
const (
	connect   = 1
	associate = 3
)

// ask makes a request of SOCKS5, and returns the address of the reply.
func ask(conn io.ReadWriter, command byte, target string) (socksaddr.Addr, error) {
	addr, err := socksaddr.Parse(target)
	if err != nil {
		return socksaddr.Addr{}, err
	}
	if _, err := conn.Write(append([]byte{5, 1, 0}, addr.Append([]byte{5, command, 0})...)); err != nil {
		return socksaddr.Addr{}, err
	}
	var reply [5]byte
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return socksaddr.Addr{}, err
	}
	if reply[3] != 0 {
		return socksaddr.Addr{}, fmt.Errorf("reply %d", reply[3])
	}
	return socksaddr.Read(conn)
}

// answerConn notes when its first and last bytes came, and gives an answer time as long as it goes on.
type answerConn struct {
	net.Conn
	first, last time.Time
}

func (c *answerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.last = time.Now()
		if c.first.IsZero() {
			c.first = c.last
		}
		_ = c.SetDeadline(c.last.Add(silenceTime))
	}
	return n, err
}

// talk does what a kind of flow does, to the end of its answer.
func (d driver) talk(conn *answerConn, k kind, id string) error {
	switch k {
	case tlsFlow:
		secure := tls.Client(conn, &tls.Config{RootCAs: d.targets.pool, ServerName: "127.0.0.1"})
		return exchange(secure, "GET / HTTP/1.1\r\nHost: target\r\n\r\n", func(r *http.Response) error {
			_, err := io.Copy(io.Discard, r.Body)
			return err
		})
	case getFlow:
		request := "GET / HTTP/1.1\r\nHost: target\r\n\r\n"
		return exchange(conn, request, wants(pageText)) //nolint:bodyclose // exchange closes it
	case postFlow:
		request := "POST /" + id + " HTTP/1.1\r\nHost: target\r\nContent-Length: 4\r\n\r\nonce"
		return exchange(conn, request, wants(id)) //nolint:bodyclose // exchange closes it
	case downloadFlow:
		size := smallest + rand.IntN(largest-smallest)
		return exchange(conn, fmt.Sprintf("GET /download/%d HTTP/1.0\r\n\r\n", size), isWhole)
	}
	return fmt.Errorf("no kind %q", k)
}

// exchange sends a request and reads its answer.
func exchange(conn io.ReadWriter, request string, read func(*http.Response) error) error {
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return read(answer)
}

func wants(text string) func(*http.Response) error {
	return func(r *http.Response) error {
		got, err := io.ReadAll(r.Body)
		if err == nil && string(got) != text {
			return fmt.Errorf("the answer is %q, want %q", got, text)
		}
		return err
	}
}

// isWhole reads a download to its end, and compares it with what was announced.
func isWhole(r *http.Response) error {
	want, err := strconv.Atoi(r.Header.Get(lengthHeader))
	if err != nil {
		return err
	}
	sum := sha256.New()
	got, err := io.Copy(sum, r.Body)
	switch {
	case err != nil:
		return err
	case got < int64(want):
		return errTruncated
	case got > int64(want) || fmt.Sprintf("%x", sum.Sum(nil)) != r.Header.Get(sumHeader):
		return errors.New("other bytes than announced")
	}
	return nil
}
