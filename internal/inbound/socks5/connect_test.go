package socks5

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestConnect(t *testing.T) {
	tests := []struct{ name, request, target string }{
		{"ipv4", connectV4, "1.2.3.4:80"},
		{"ipv6", "\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x01\xbb", "[::1]:443"},
		{"domain", connectName, "example.com:80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dialer := newTargets(t)
			r := start(t, &Server{Settings: Settings{Stream: dialer}})
			c := r.dial()
			c.send(helloOpen)
			c.want(acceptOpen)
			c.send(tt.request)
			far := dialer.want(tt.target)
			c.want(succeeded)
			r.seen.want(t, "opened tcp")
			c.send("question")
			far.want("question")
			far.send("answer")
			c.want("answer")
			c.closeWrite()
			far.wantEnd()
			far.send(" and more after the client's end")
			far.closeWrite()
			c.want(" and more after the client's end")
			c.wantEnd()
			r.seen.want(t, "closed tcp")
			r.wantLog("level=DEBUG", `msg="flow closed"`, "flow=1", "inbound=socks5", "proto=tcp",
				"client=127.0.0.1:", "target="+tt.target, "sent=8", "received=38", "dur=")
		})
	}
}

func TestConnectWithPassword(t *testing.T) {
	dialer := newTargets(t)
	r := start(t, &Server{Settings: Settings{Stream: dialer, Users: newUsers(t, "alice:secret")}})
	c := r.dial()
	c.send("\x05\x02\x00\x02")
	c.want("\x05\x02")
	c.send("\x01\x05alice\x06secret")
	c.want("\x01\x00")
	c.send(connectName)
	dialer.want("example.com:80")
	c.want(succeeded)
}

// TestConnectEarlyData: a client that says everything at once, its end too, loses nothing.
func TestConnectEarlyData(t *testing.T) {
	dialer := newTargets(t)
	r := start(t, &Server{Settings: Settings{Stream: dialer}})
	c := r.dial()
	early := strings.Repeat("early data ", 1000)
	c.send(helloOpen + connectName + early)
	c.closeWrite()
	far := dialer.want("example.com:80")
	far.want(early)
	far.wantEnd()
	far.send("answer")
	far.closeWrite()
	c.want(acceptOpen + succeeded + "answer")
	c.wantEnd()
}

// TestConnectHalfCloseWhileDialing: the client's end of input is no reason to give up the dial.
func TestConnectHalfCloseWhileDialing(t *testing.T) {
	dialer := newTargets(t)
	ended := make(chan struct{})
	slow := dialFunc(func(ctx context.Context, addr string) (transport.StreamConn, error) {
		select {
		case <-ended:
			return dialer.DialStream(ctx, addr)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	r := start(t, &Server{Settings: Settings{Stream: slow}})
	c := r.dial()
	c.send(helloOpen + connectName + "question")
	c.closeWrite()
	c.want(acceptOpen)
	close(ended)
	far := dialer.want("example.com:80")
	far.want("question")
	far.send("answer")
	far.closeWrite()
	c.want(succeeded + "answer")
}

func TestConnectDialFails(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code string
	}{
		{"rule", transport.ErrNotAllowed, "\x02"},
		{"refused", syscall.ECONNREFUSED, "\x05"},
		{"late", context.DeadlineExceeded, "\x06"},
		{"other", errors.New("bad handshake"), "\x01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, &Server{Settings: Settings{Stream: failWith(tt.err)}})
			c := r.dial()
			// The reply arrives although the server closes with input unread.
			c.send(helloOpen + connectName + strings.Repeat("early data ", 1000))
			c.want(acceptOpen + "\x05" + tt.code + "\x00" + zeroAddr)
			c.closeWrite()
			c.wantEnd()
			r.wantLog("level=WARN", `msg="flow failed"`, "target=example.com:80", tt.err.Error(), "dur=")
		})
	}
}

func TestRefusedHandshakes(t *testing.T) {
	users := newUsers(t, "alice:secret")
	tests := []struct {
		name, says, hears, logged string
		users                     Users
	}{
		{"http", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", httpHint, "speaks HTTP", Users{}},
		{"socks4", "\x04\x01\x00\x50\x01\x02\x03\x04\x00", "", "speaks SOCKS4", Users{}},
		{"garbage", "\xde\xad\xbe\xef", "", "0xde", Users{}},
		{"no method", helloOpen, "\x05\xff", "offers 00", users},
		{"bind", helloOpen + "\x05\x02\x00" + zeroAddr, acceptOpen + badCommand, "command 2", Users{}},
		{"address type", helloOpen + "\x05\x01\x00\x09\x00", acceptOpen + badType, "type 9", Users{}},
		{"no udp", helloOpen + associateAny, acceptOpen + badCommand, "no upstream carries UDP", Users{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			never := failWith(errors.New("unexpected dial"))
			r := start(t, &Server{Settings: Settings{Stream: never, Users: tt.users}})
			c := r.dial()
			c.send(tt.says)
			c.want(tt.hears)
			c.closeWrite()
			c.wantEnd()
			r.wantLog(tt.logged, "flow=1", "client=127.0.0.1:")
		})
	}
}

// TestBrokenTarget: a reset on one side is a reset on the other.
func TestBrokenTarget(t *testing.T) {
	dialer := newTargets(t)
	r := start(t, &Server{Settings: Settings{Stream: dialer}})
	c := r.dial()
	c.send(helloOpen + connectName)
	c.want(acceptOpen + succeeded)
	far := dialer.want("example.com:80")
	far.send("half an ans")
	c.want("half an ans")
	if err := transport.Abort(far.Conn); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c.Conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client reads %v, want %v", err, syscall.ECONNRESET)
	}
	r.wantLog("level=INFO", `msg="flow broken"`, "received=11", "err=")
}

func TestBulk(t *testing.T) {
	dialer := newTargets(t)
	r := start(t, &Server{Settings: Settings{Stream: dialer}})
	c := r.dial()
	c.send(helloOpen + connectName)
	c.want(acceptOpen + succeeded)
	far := dialer.want("example.com:80")
	data := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	want := sha256.Sum256([]byte(data))
	received := make(chan [sha256.Size]byte)
	go func() {
		h := sha256.New()
		_, _ = io.Copy(h, far.Conn)
		received <- [sha256.Size]byte(h.Sum(nil))
	}()
	c.send(data)
	c.closeWrite()
	if got := <-received; got != want {
		t.Errorf("the target received %x, want %x", got, want)
	}
}
