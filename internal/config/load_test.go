package config

import (
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	good, large := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "large.yaml")
	write(t, good, []byte(minimal))
	write(t, large, []byte(strings.Repeat("#", maxFile+1)))

	if c := load(t, good); c.Upstreams[0].Name != "example.com" {
		t.Errorf("Load(%s) = %+v, want the upstream example.com", good, c)
	}
	_, err := Load(filepath.Join(dir, "none.yaml"), Checks{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("Load of a missing file = %v, want fs.ErrNotExist with the name", err)
	}
	_, err = Load(dir, Checks{})
	wantText(t, err, dir+": is a directory, want a file")
	_, err = Load(large, Checks{})
	wantText(t, err, large+": is larger than 1048576 bytes")
}

func TestCAFile(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	write(t, filepath.Join(dir, "ca.pem"), cert)
	write(t, filepath.Join(dir, "text.pem"), []byte("no certificate"))
	write(t, filepath.Join(dir, "large.pem"), make([]byte, maxFile+1))
	file := filepath.Join(dir, "config.yaml")

	tests := []struct{ name, path, want string }{
		{"beside the config", "ca.pem", ""},
		{"absolute", filepath.Join(dir, "ca.pem"), ""},
		{"not there", "none.pem", "the file cannot be read: no such file or directory"},
		{"folder", ".", "is not a regular file"},
		{"no PEM", "text.pem", "the file holds no certificate in PEM form"},
		{"large", "large.pem", "the file is larger than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			shared := "x-tls: &tls {ca_file: '" + tt.path + "'}\nupstreams:\n" +
				strings.Repeat("- {tcp_wss: wss://a.example, cipher: c, secret: s, tls: *tls}\n", 2)
			c, err := Parse(file, []byte(shared), Checks{})
			if tt.want != "" {
				wantText(t, err, file+":1: upstreams[0].tls.ca_file: "+tt.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			a, b := c.Upstreams[0].TLS, c.Upstreams[1].TLS
			if a.CAFile != filepath.Join(dir, "ca.pem") || a.RootCAs == nil || a.RootCAs != b.RootCAs {
				t.Errorf("TLS = %+v and %+v, want both to share what is in ca.pem", a, b)
			}
		})
	}
}

func TestStateFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	write(t, file, nil)
	write(t, filepath.Join(dir, "old.json"), nil)
	for name, goal := range map[string]string{"link.json": "config.yaml", "loop.json": "loop.json"} {
		if err := os.Symlink(goal, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	const own = "is this config file, which would be overwritten"
	tests := []struct{ name, path, got, mistake string }{
		{"off", "", "", ""},
		{"new", "state.json", filepath.Join(dir, "state.json"), ""},
		{"there already", "./old.json", filepath.Join(dir, "old.json"), ""},
		{"absolute", filepath.Join(dir, "state.json"), filepath.Join(dir, "state.json"), ""},
		{"folder", dir, "", "is not a regular file"},
		{"device", os.DevNull, "", "is not a regular file"},
		{"no such folder", "missing/state.json", "", "the folder of the file does not exist"},
		{"below a file", "old.json/state.json", "", "the folder of the file does not exist"},
		{"this file", "config.yaml", "", own},
		{"a link to this file", "link.json", "", own},
		{"a link to itself", "loop.json", "", "the file cannot be read: too many levels of symbolic links"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(file, []byte("state_file: '"+tt.path+"'"+minimal), Checks{})
			if tt.mistake != "" {
				wantText(t, err, file+":1: state_file: "+tt.mistake)
				return
			}
			if err != nil || c.StateFile != tt.got {
				t.Errorf("state_file: %s gives %v, %v, want %s", tt.path, c, err, tt.got)
			}
		})
	}
}
