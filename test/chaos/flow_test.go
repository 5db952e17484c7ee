package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

func TestJudge(t *testing.T) {
	for err, want := range map[error]fate{
		nil:                   whole,
		io.EOF:                truncated,
		io.ErrUnexpectedEOF:   truncated,
		errTruncated:          truncated,
		syscall.ECONNRESET:    failed,
		errors.New("timeout"): failed,
	} {
		if err != nil {
			err = fmt.Errorf("read: %w", err)
		}
		if got := judge(err); got != want {
			t.Errorf("judge(%v) = %d, want %d", err, got, want)
		}
	}
}

// A download is whole only if it has as many bytes as announced, and those.
func TestIsWhole(t *testing.T) {
	const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // of "abc"
	for body, want := range map[string]error{"abc": nil, "ab": errTruncated, "": errTruncated} {
		if err := isWhole(answerOf("3", sum, body)); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%q: %v, want %v", body, err, want)
		}
	}
	for _, r := range []*http.Response{
		answerOf("3", sum, "abd"), answerOf("3", sum, "abcd"),
		answerOf("", sum, "abc"), answerOf("3", "", "abc"),
	} {
		if err := isWhole(r); err == nil || errors.Is(err, errTruncated) {
			t.Errorf("%v: %v, want another error", r.Header, err)
		}
	}
}

func answerOf(length, sum, body string) *http.Response {
	h := make(http.Header)
	h.Set(lengthHeader, length)
	h.Set(sumHeader, sum)
	return &http.Response{Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// proxy is a SOCKS5 server that connects to targets as they are; cut says after how many bytes of an answer
// it ends, without an error, or -1.
func proxy(t *testing.T, cut int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go connectFor(conn, cut)
		}
	}()
	return l.Addr().String()
}

func connectFor(client net.Conn, cut int64) {
	defer client.Close()
	if _, err := io.ReadFull(client, make([]byte, 6)); err != nil {
		return
	}
	target, err := socksaddr.Read(client)
	if err != nil {
		return
	}
	server, err := net.Dial("tcp", target.String())
	if err != nil {
		return
	}
	defer server.Close()
	_, _ = client.Write(target.Append([]byte{5, 0, 5, 0, 0}))
	go func() { _, _ = io.Copy(server, client) }()
	if cut < 0 {
		_, _ = io.Copy(client, server)
	} else {
		_, _ = io.CopyN(client, server, cut)
	}
}

func TestFlows(t *testing.T) {
	targets, err := startTargets(ms)
	if err != nil {
		t.Fatal(err)
	}
	defer targets.close()
	good := driver{proxy: proxy(t, -1), targets: targets}
	for _, k := range kinds {
		f := good.run(t.Context(), k, "good", 0)
		if f.fate != whole || !f.answered || f.delay <= 0 || f.last < f.delay {
			t.Errorf("%s: %+v", k, f)
		}
	}
	if n := targets.duplicates(); n != 0 {
		t.Errorf("%d duplicates of POSTs", n)
	}
	if good.run(t.Context(), postFlow, "good", 0); targets.duplicates() != 1 {
		t.Error("a POST that came twice was not noticed")
	}
}

// Whatever ends cleanly before its answer is whole is noticed.
func TestCutFlows(t *testing.T) {
	targets, err := startTargets(ms)
	if err != nil {
		t.Fatal(err)
	}
	defer targets.close()
	for _, k := range kinds {
		for _, cut := range []int64{0, 50} {
			bad := driver{proxy: proxy(t, cut), targets: targets}
			f := bad.run(t.Context(), k, fmt.Sprint("cut at ", cut), 0)
			if f.fate == whole || f.answered != (cut > 0) {
				t.Errorf("%s cut at %d: %+v", k, cut, f)
			}
			if k.isPlain() && f.fate != truncated {
				t.Errorf("%s cut at %d: not noticed as cut: %+v", k, cut, f)
			}
		}
	}
}

// isPlain reports whether nothing but the end of the connection tells how it ended.
func (k kind) isPlain() bool { return k == getFlow || k == downloadFlow }

func TestFlowWithoutProxy(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	d := driver{proxy: closed.Addr().String(), targets: &targets{web: &webTarget{addr: "127.0.0.1:1"}}}
	if f := d.run(t.Context(), getFlow, "1", time.Hour); f.fate != failed || f.answered {
		t.Errorf("flow = %+v", f)
	}
}

// A whole flow is held, as an application does that thinks.
func TestHold(t *testing.T) {
	targets, err := startTargets(ms)
	if err != nil {
		t.Fatal(err)
	}
	defer targets.close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan flow)
	go func() { done <- driver{proxy(t, -1), targets}.run(ctx, getFlow, "1", time.Hour) }()
	cancel()
	if f := <-done; f.fate != whole {
		t.Errorf("flow = %+v", f)
	}
}

// The server of a child does what the faults are called.
func TestStrike(t *testing.T) {
	s, err := outlinetest.Start(outlinetest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, f := range append([]fault{calm}, faults...) {
		if err := strike(s, f); (err != nil) != (f == kill) {
			t.Errorf("%s: %v", f, err)
		}
	}
}
