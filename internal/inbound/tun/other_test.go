//go:build !linux || unit

package tun

import (
	"errors"
	"testing"
)

func TestUnsupported(t *testing.T) {
	d, err := Open(DeviceOptions{Name: "tun0"})
	if d != nil || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Open() = %v, %v, want nil and %v", d, err, errors.ErrUnsupported)
	}
	if err := new(Server).Serve(t.Context(), new(Device)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Serve() = %v, want %v", err, ErrUnsupported)
	}
}
