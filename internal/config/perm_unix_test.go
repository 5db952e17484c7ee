//go:build unix

package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOthersCanRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, nil)
	for mode, want := range map[os.FileMode]bool{
		0o600: false, 0o400: false, 0o611: false, 0o640: true, 0o604: true, 0o644: true,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got, err := OthersCanRead(path); got != want || err != nil {
			t.Errorf("OthersCanRead of mode %v = %v, %v, want %v", mode, got, err, want)
		}
	}
	if _, err := OthersCanRead(path + ".none"); err == nil {
		t.Error("OthersCanRead of a missing file gives no error")
	}
}

// TestGroupOfSomebodyElsesFile has a file as Kubernetes mounts it: its group is how the program is let in.
func TestGroupOfSomebodyElsesFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := filepath.Join(t.TempDir(), "server-1")
	write(t, path, nil)
	const nobody = 65534
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o440: false, 0o444: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got, err := OthersCanRead(path); got != want || err != nil {
			t.Errorf("OthersCanRead of mode %v = %v, %v, want %v", mode, got, err, want)
		}
	}
}
