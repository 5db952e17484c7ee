package socks5

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

func TestReplyCode(t *testing.T) {
	other := errors.New("websocket: bad handshake")
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	noRoute := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
	noNetwork := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	late := &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	tests := []struct {
		name string
		err  error
		want byte
	}{
		{"rule", transport.ErrNotAllowed, 2},
		{"rule, wrapped", fmt.Errorf("dial: %w", transport.ErrNotAllowed), 2},
		{"no network", noNetwork, 3},
		{"no route", noRoute, 4},
		{"unknown name", &net.DNSError{Err: "no such host", IsNotFound: true}, 4},
		{"unknown name, wrapped", fmt.Errorf("resolve: %w", &net.DNSError{IsNotFound: true}), 4},
		{"resolver late", &net.DNSError{Err: "i/o timeout", IsTimeout: true}, 6},
		{"refused", refused, 5},
		{"refused, bare", syscall.ECONNREFUSED, 5},
		{"deadline of a connection", late, 6},
		{"deadline of a context", fmt.Errorf("dial: %w", context.DeadlineExceeded), 6},
		{"kernel gave up", os.NewSyscallError("connect", syscall.ETIMEDOUT), 6},
		{"other net.Error", &net.OpError{Op: "dial", Err: timeoutError{}}, 6},
		{"cancelled", context.Canceled, 1},
		{"other", other, 1},
		{"reset", syscall.ECONNRESET, 1},
		{"joined: refused among others", errors.Join(other, refused), 5},
		{"joined: rule first", errors.Join(refused, transport.ErrNotAllowed), 2},
		{"joined: refused before late", errors.Join(late, refused), 5},
		{"joined: late among others", errors.Join(syscall.ECONNRESET, fmt.Errorf("h1: %w", late)), 6},
		{"joined: nested", fmt.Errorf("all: %w", errors.Join(other, errors.Join(noNetwork))), 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := replyCode(tt.err); got != tt.want {
				t.Errorf("replyCode(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}

// timeoutError is a net.Error that wraps nothing known.
type timeoutError struct{}

func (timeoutError) Error() string   { return "late" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

func TestAppendReply(t *testing.T) {
	tests := []struct {
		name  string
		code  byte
		bound socksaddr.Addr
		want  string
	}{
		{"no address", 5, socksaddr.Addr{}, "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"ipv4", 0, addrOf("127.0.0.1:1080"), "\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"},
		{"ipv6", 0, addrOf("[::1]:1080"), "\x05\x00\x00\x04" + "\x00\x00\x00\x00\x00\x00\x00\x00" +
			"\x00\x00\x00\x00\x00\x00\x00\x01\x04\x38"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(makeReply(tt.code, tt.bound)); got != tt.want {
				t.Errorf("makeReply(%d, %v) = %q, want %q", tt.code, tt.bound, got, tt.want)
			}
		})
	}
}

func addrOf(s string) socksaddr.Addr { return socksaddr.FromAddrPort(netip.MustParseAddrPort(s)) }
