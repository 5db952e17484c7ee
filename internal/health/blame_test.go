package health_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// dialError is an error as package net makes it.
func dialError(errno syscall.Errno) error {
	return fmt.Errorf("dial h2: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)})
}

// noCauses claims to have causes and has none.
type noCauses struct{}

func (noCauses) Error() string   { return "no causes" }
func (noCauses) Unwrap() []error { return nil }

func TestBlame(t *testing.T) {
	unreachable, full := dialError(syscall.ENETUNREACH), dialError(syscall.EMFILE)
	refused := dialError(syscall.ECONNREFUSED)
	for _, tt := range []struct {
		name             string
		err              error
		local, noNetwork bool
	}{
		{"refused", refused, false, false},
		{"an answer that ends early", io.ErrUnexpectedEOF, false, false},
		{"a host that is down, which routers say too", dialError(syscall.EHOSTUNREACH), false, false},
		{"no descriptors", full, true, false},
		{"a firewall of ours", dialError(syscall.EPERM), true, false},
		{"no route", unreachable, false, true},
		{"interface down", dialError(syscall.ENETDOWN), false, true},
		{"no network at all", fmt.Errorf("dial h2: %w", transport.ErrNoNetwork), true, false},
		{"no name server", &net.DNSError{IsTimeout: true}, false, true},
		{"no such name", &net.DNSError{IsNotFound: true}, false, false},
		{"no route for one family, refused on the other", errors.Join(unreachable, refused), false, false},
		{"no route for both families", errors.Join(unreachable, unreachable), false, true},
		{"no route, and no descriptors", errors.Join(unreachable, full), true, false},
		{"no descriptors, and refused", errors.Join(full, refused), false, false},
		{"at a stage", &health.StageError{Stage: health.Transport, Err: unreachable}, false, true},
		{"no causes", noCauses{}, false, false},
		{"nothing", nil, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := health.IsLocal(tt.err); got != tt.local {
				t.Errorf("IsLocal(%v) = %v, want %v", tt.err, got, tt.local)
			}
			if got := health.IsNoNetwork(tt.err); got != tt.noNetwork {
				t.Errorf("IsNoNetwork(%v) = %v, want %v", tt.err, got, tt.noNetwork)
			}
		})
	}
}
