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
