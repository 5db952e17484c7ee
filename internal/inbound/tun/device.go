package tun

import "fmt"

// DeviceOptions name a TUN device.
type DeviceOptions struct {
	Name  string // of an existing device, or of one to be made
	MTU   int    // of a device that Open makes; zero is 1500. An existing one keeps its own
	NetNS string // the name of a network namespace, as ip-netns(8) has it, or the path of one; empty is ours
	Plain bool   // never ask for super-segments, as if the kernel had none
}

// DeviceError says why a device could not be opened, and what helps.
type DeviceError struct {
	Name string
	Err  error
	Hint string // may be empty
}

// Error implements error.
func (e *DeviceError) Error() string {
	text := fmt.Sprintf("open tun device %s: %v", e.Name, e.Err)
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *DeviceError) Unwrap() error { return e.Err }
