//go:build !linux || unit

package tun

import "context"

// Device does not exist here.
type Device struct{}

// Open returns ErrUnsupported.
func Open(DeviceOptions) (*Device, error) { return nil, ErrUnsupported }

// Created reports whether Open made the device.
func (*Device) Created() bool { return false }

// Name is the name of the device.
func (*Device) Name() string { return "" }

// Index is the number of the device in its namespace.
func (*Device) Index() int { return 0 }

// MTU is the size of the largest packet.
func (*Device) MTU() int { return 0 }

// Close returns nil.
func (*Device) Close() error { return nil }

// tunnel does not exist here.
type tunnel struct {
	ended chan struct{}
	err   error
}

func openTunnel(context.Context, *Server, *Device) (*tunnel, error) { return nil, ErrUnsupported }

func (*tunnel) abort()                {}
func (*tunnel) close(context.Context) {}
