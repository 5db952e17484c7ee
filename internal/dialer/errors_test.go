package dialer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
)

func opError(err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: err}
}

func TestErrorText(t *testing.T) {
	refused := opError(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	timedOut := opError(os.ErrDeadlineExceeded)
	notFound := &net.DNSError{Err: "no such host", Name: "example.com", IsNotFound: true}
	v6, v4 := netip.MustParseAddrPort("[2001:db8::1]:443"), netip.MustParseAddrPort("192.0.2.1:443")
	tests := []struct {
		name string
		err  *Error
		want string
		is   []error
	}{
		{
			"two attempts",
			&Error{Addr: "example.com:443", Attempts: []Attempt{{v6, refused}, {v4, timedOut}}},
			"connect example.com:443: [2001:db8::1]:443: connection refused; 192.0.2.1:443: i/o timeout",
			[]error{syscall.ECONNREFUSED, os.ErrDeadlineExceeded},
		},
		{
			"lookup", &Error{Addr: "example.com:443", Err: notFound},
			"connect example.com:443: lookup example.com: no such host",
			[]error{notFound},
		},
		{
			"attempt and lookup", &Error{Addr: "a:1", Attempts: []Attempt{{v4, refused}}, Err: notFound},
			"connect a:1: 192.0.2.1:443: connection refused; lookup example.com: no such host",
			[]error{syscall.ECONNREFUSED},
		},
		{
			"context", &Error{Addr: "a:1", Err: context.Canceled},
			"connect a:1: context canceled",
			[]error{context.Canceled},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("Error() = %q, want %q", got, tt.want)
			}
			for _, target := range tt.is {
				if !errors.Is(tt.err, target) {
					t.Errorf("errors.Is(%v, %v) = false, want true", tt.err, target)
				}
			}
		})
	}
	both := tests[2].err
	if _, ok := errors.AsType[*net.DNSError](both); ok {
		t.Errorf("%v counts as a DNS failure, want a refused connection", both)
	}
}

func TestMarkErrorNamesTheWayOut(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{syscall.EPERM, "apply fwmark 123: operation not permitted: run as root or grant CAP_NET_ADMIN " +
			"(setcap cap_net_admin+ep ./outline-cli-ws)"},
		{
			errors.ErrUnsupported,
			"apply fwmark 123: unsupported operation: marks exist on Linux only, set fwmark to 0",
		},
		{syscall.EBADF, "apply fwmark 123: " + syscall.EBADF.Error()},
	}
	for _, tt := range tests {
		err := &MarkError{Mark: 123, Err: tt.err}
		if got := err.Error(); !strings.EqualFold(got, tt.want) {
			t.Errorf("MarkError(%v) = %q, want %q", tt.err, got, tt.want)
		}
		if !errors.Is(err, tt.err) || !isMark(fmt.Errorf("dial: %w", err)) {
			t.Errorf("MarkError(%v) hides its cause or itself", tt.err)
		}
	}
}

func TestGraver(t *testing.T) {
	mark := &MarkError{Mark: 1, Err: syscall.EPERM}
	notFound := &net.DNSError{Err: "no such host", IsNotFound: true}
	timeout := &net.DNSError{Err: "i/o timeout", IsTimeout: true}
	for _, tt := range []struct{ a, b, want error }{
		{nil, nil, nil},
		{nil, notFound, notFound},
		{notFound, nil, notFound},
		{notFound, timeout, timeout},
		{timeout, notFound, timeout},
		{timeout, mark, mark},
		{mark, timeout, mark},
	} {
		if got := graver(tt.a, tt.b); got != tt.want { //nolint:errorlint // the very value
			t.Errorf("graver(%v, %v) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestExplainZone(t *testing.T) {
	invalid := opError(os.NewSyscallError("connect", syscall.EINVAL))
	err := explainZone(netip.MustParseAddr("fe80::1%nope"), invalid)
	if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), `no network interface "nope"`) {
		t.Errorf("explainZone(nope) = %v, want the interface named", err)
	}
	err = explainZone(netip.MustParseAddr("::1"), invalid)
	if err != invalid { //nolint:errorlint // the very value
		t.Errorf("explainZone(no zone) = %v, want %v", err, invalid)
	}
}
