package tun

import (
	"os"
	"testing"
)

func TestDeviceErrorHelps(t *testing.T) {
	err := error(&DeviceError{Name: "tun0", Err: os.ErrPermission})
	if got, want := err.Error(), "open tun device tun0: permission denied"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	err = &DeviceError{Name: "tun0", Err: os.ErrPermission, Hint: "do this"}
	if got, want := err.Error(), "open tun device tun0: permission denied (do this)"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
