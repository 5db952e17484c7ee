package app

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenNetwork(t *testing.T) {
	for _, tt := range []struct {
		name, addr string
		others     []string
		want       string
	}{
		{"IPv4", "127.0.0.1:1080", nil, "tcp4"},
		{"every IPv4 address", "0.0.0.0:1080", nil, "tcp4"},
		{"IPv6", "[::1]:1080", nil, "tcp"},
		{"every address", "[::]:1080", nil, "tcp"},
		{"every IPv6 address beside every IPv4 address", "[::]:1080", []string{"0.0.0.0:1080"}, "tcp6"},
		{"another port for IPv4", "[::]:1080", []string{"0.0.0.0:1081"}, "tcp"},
		{"no host", ":1080", nil, "tcp"},
		{"name", "localhost:1080", nil, "tcp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []place
			for _, addr := range append(tt.others, tt.addr) {
				all = append(all, place{kindSOCKS5, addr})
			}
			if got := listenNetwork(place{kindSOCKS5, tt.addr}, all); got != tt.want {
				t.Errorf("listenNetwork(%s) = %s, want %s", tt.addr, got, tt.want)
			}
		})
	}
}

func TestListenAllOrNone(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := closedPort(t)
	both := []place{{kindSOCKS5, free}, {kindMetrics, taken.Addr().String()}}
	_, err = listenAll(t.Context(), both, nil)
	if err == nil || !strings.Contains(err.Error(), "metrics.listen") {
		t.Fatalf("listenAll = %v, want an error for the address that is taken", err)
	}
	again, err := net.Listen("tcp4", free)
	if err != nil {
		t.Errorf("the other address stayed open: %v", err)
		return
	}
	again.Close()
}

// TestNothingButSocketsIsRemoved has files, folders and links stay where a unix socket was to be.
func TestNothingButSocketsIsRemoved(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	if err := os.WriteFile(at("file"), []byte("of somebody"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", at("link")); err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"file", "folder", "link"} {
		l, err := listenUnix(t.Context(), at(name))
		if err == nil {
			l.Close()
			t.Errorf("listens in the place of a %s", name)
		}
		if _, err := os.Lstat(at(name)); err != nil {
			t.Errorf("the %s is gone: %v", name, err)
		}
	}
}

func TestSocketThatWasLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	before, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := listenUnix(t.Context(), path); err == nil {
		l.Close()
		t.Fatal("took the place of a socket that is in use")
	}
	before.SetUnlinkOnClose(false)
	before.Close()
	l, err := listenUnix(t.Context(), path)
	if err != nil {
		t.Fatalf("listenUnix = %v, want nil: nobody uses it", err)
	}
	l.Close()
}
