//go:build !linux

package app

import "time"

// OpenService finds no service manager on this system.
func OpenService() (Service, error) { return Service{}, nil }

// monotonic is asked for by nobody on this system.
func monotonic() time.Duration { return 0 }
