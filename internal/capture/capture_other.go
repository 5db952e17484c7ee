//go:build !linux

package capture

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
)

// errUnsupported is what every function returns: the rules and routes are those of Linux.
var errUnsupported = fmt.Errorf("the full tunnel exists on Linux only: %w", errors.ErrUnsupported)

// Capture does not exist on this system.
type Capture struct{}

// Apply fails.
func Apply(Options) (*Capture, error) { return nil, errUnsupported }

// Addr4 is no address.
func (*Capture) Addr4() netip.Prefix { return netip.Prefix{} }

// Addr6 is none either.
func (*Capture) Addr6() netip.Prefix { return netip.Prefix{} }

// Repair does nothing.
func (*Capture) Repair() (repaired int, err error) { return 0, nil }

// Update fails.
func (*Capture) Update(Options) error { return errUnsupported }

// WasBlocked is false.
func (*Capture) WasBlocked() bool { return false }

// Leave does nothing.
func (*Capture) Leave() error { return nil }

// Close does nothing.
func (*Capture) Close() error { return nil }

// Clean fails.
func Clean(*slog.Logger) (removed int, err error) { return 0, errUnsupported }

// Status fails.
func Status() (State, error) { return State{}, errUnsupported }

// CheckRoute fails.
func CheckRoute(uint32, netip.Addr) (device string, err error) { return "", errUnsupported }
