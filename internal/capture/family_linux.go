package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// settings6 has a folder for each device.
const settings6 = "/proc/sys/net/ipv6/conf"

// Enabled is a device that has IPv6 switched on, whatever holds for new devices of this host.
type Enabled struct{ Device string }

// String implements Step.
func (e Enabled) String() string { return "sysctl net.ipv6.conf." + e.Device + ".disable_ipv6=0" }

func (e Enabled) add(*kernel) (bool, error) {
	if hasIPv6(e.Device) {
		return false, nil
	}
	return true, e.set("0")
}

func (e Enabled) remove(*kernel) error {
	err := e.set("1")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the device is gone
	}
	return err
}

func (e Enabled) set(value string) error {
	f, err := os.OpenFile(switch6(e.Device), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("IPv6 of %s: %w", e.Device, err)
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func switch6(device string) string {
	return filepath.Join(settings6, filepath.Base(device), "disable_ipv6")
}

// hasIPv6 reports whether the kernel has it on for a device.
func hasIPv6(device string) bool {
	b, err := os.ReadFile(switch6(device))
	return err == nil && strings.TrimSpace(string(b)) == "0"
}

// usesIPv6 reports whether IPv6 could leave this host: whether it is on for another device than the tunnel's,
// or will be for the next that comes. The setting "all" says nothing of either: it is what was written last.
func usesIPv6(tunnel string) bool {
	devices, err := os.ReadDir(settings6)
	if err != nil {
		return false // the kernel has no IPv6
	}
	return slices.ContainsFunc(devices, func(d fs.DirEntry) bool {
		return !slices.Contains([]string{"all", loopback, tunnel}, d.Name()) && hasIPv6(d.Name())
	})
}
